#include "relay/admin/metrics.h"

#include <array>
#include <vector>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace millrace::admin {
namespace {

using pipeline::HealthState;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

class Families {
 public:
  explicit Families(std::string pipeline) : pipeline_(std::move(pipeline)) {}

  void begin(const char* name, const char* help, MetricType type) {
    MetricFamily family;
    family.name = name;
    family.help = help;
    family.type = type;
    families_.push_back(std::move(family));
  }

  void add(double value, const char* label = nullptr, std::string_view label_value = {}) {
    ClientMetric metric;
    metric.label.push_back({"pipeline", pipeline_});
    if (label != nullptr) metric.label.push_back({label, std::string(label_value)});
    MetricFamily& family = families_.back();
    if (family.type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    family.metric.push_back(std::move(metric));
  }

  void add(double value, const pipeline::ProofStatus& proof) {
    add(value, "table", proof.table);
    families_.back().metric.back().label.push_back({"kind", proof.kind});
  }

  void gauge(const char* name, const char* help, double value) {
    begin(name, help, MetricType::Gauge);
    add(value);
  }
  void counter(const char* name, const char* help, uint64_t value) {
    begin(name, help, MetricType::Counter);
    add(static_cast<double>(value));
  }

  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  std::string pipeline_;
  std::vector<MetricFamily> families_;
};

void add_positions(Families& out, const pipeline::Positions& positions) {
  const std::array<std::pair<const char*, const std::optional<pipeline::StagePosition>*>, 4> stages{
      {
          {"received", &positions.received},
          {"published", &positions.published},
          {"acknowledged", &positions.acknowledged},
          {"applied", &positions.applied},
      }};
  out.begin("millrace_position_bytes", "WAL position that a stage has reached.", MetricType::Gauge);
  for (const auto& [name, stage] : stages) {
    if (*stage) out.add(static_cast<double>((*stage)->lsn.value), "stage", name);
  }
  out.begin("millrace_position_commit_time_seconds",
            "Source commit time of the last transaction that a stage has reached.",
            MetricType::Gauge);
  for (const auto& [name, stage] : stages) {
    if (*stage && (*stage)->at.value != 0) {
      out.add(static_cast<double>((*stage)->at.value) / 1e6, "stage", name);
    }
  }
}

void add_slot(Families& out, const pipeline::SlotStatus& slot) {
  out.gauge("millrace_slot_active", "1 when a process reads the slot.", slot.active ? 1 : 0);
  if (slot.retained_wal_bytes) {
    out.gauge("millrace_slot_retained_wal_bytes", "WAL that the slot holds back at the source.",
              static_cast<double>(*slot.retained_wal_bytes));
  }
  out.gauge("millrace_slot_max_retained_wal_bytes", "The configured limit of retained WAL.",
            static_cast<double>(slot.max_retained_wal_bytes));
  if (!slot.wal_status.empty()) {
    out.begin("millrace_slot_wal_status", "1 for the slot's wal_status.", MetricType::Gauge);
    for (const char* status : {"reserved", "extended", "unreserved", "lost"}) {
      out.add(slot.wal_status == status ? 1 : 0, "status", status);
    }
  }
}

void add_totals(Families& out, const pipeline::Totals& totals) {
  const auto both = [&out](const char* name, const char* help, uint64_t published,
                           uint64_t applied) {
    out.begin(name, help, MetricType::Counter);
    out.add(static_cast<double>(published), "stage", "published");
    out.add(static_cast<double>(applied), "stage", "applied");
  };
  both("millrace_rows_total", "Rows since the start.", totals.published_rows, totals.applied_rows);
  both("millrace_transactions_total", "Source transactions since the start.",
       totals.published_transactions, totals.applied_transactions);
  both("millrace_groups_total", "Commit groups since the start.", totals.published_groups,
       totals.applied_groups);
  out.counter("millrace_applied_bytes_total", "Bytes of rows applied since the start.",
              totals.applied_bytes);
  out.counter("millrace_retries_total", "Attempts that were repeated.", totals.retries);
}

void add_proofs(Families& out, const std::vector<pipeline::ProofStatus>& proofs) {
  out.begin("millrace_verify_last_timestamp_seconds",
            "When the last proof of a table (or invariant) and kind ended.", MetricType::Gauge);
  for (const auto& proof : proofs) out.add(static_cast<double>(proof.at.value) / 1e6, proof);
  out.begin("millrace_verify_differences", "Rows that differed at the last proof.",
            MetricType::Gauge);
  for (const auto& proof : proofs) out.add(static_cast<double>(proof.differences), proof);
  out.begin("millrace_verify_undecided", "1 when the last proof could not decide all of it.",
            MetricType::Gauge);
  for (const auto& proof : proofs) out.add(proof.verdict == "undecided" ? 1 : 0, proof);
}

}  // namespace

std::string metrics_text(const pipeline::StatusSnapshot& status) {
  Families out(status.pipeline);
  out.begin("millrace_health", "1 for the pipeline's state of health.", MetricType::Gauge);
  for (const HealthState state : {HealthState::ok, HealthState::catching_up, HealthState::throttled,
                                  HealthState::blocked, HealthState::stopped}) {
    out.add(status.health.state == state ? 1 : 0, "state", pipeline::to_string(state));
  }
  add_positions(out, status.positions);
  if (status.lag.bytes) {
    out.gauge("millrace_lag_bytes", "WAL between the source's end and the target.",
              static_cast<double>(*status.lag.bytes));
  }
  if (status.lag.seconds) {
    out.gauge("millrace_lag_seconds",
              "Age of the oldest change that the target lacks; 0 when idle.", *status.lag.seconds);
  }
  if (status.slot) add_slot(out, *status.slot);
  add_totals(out, status.totals);
  out.gauge("millrace_memory_bytes", "Resident memory of the process.",
            static_cast<double>(status.memory_bytes));
  out.gauge("millrace_parked_rows", "Rows that wait in the dead-letter table.",
            static_cast<double>(status.parked));
  if (!status.verify.proofs.empty()) add_proofs(out, status.verify.proofs);
  if (status.last_error) {
    out.gauge("millrace_last_error_age_seconds", "Seconds since the last error.",
              status.last_error->age_s);
  }
  out.gauge("millrace_uptime_seconds", "Seconds since the process started.", status.uptime_s);
  return out.text();
}

}  // namespace millrace::admin
