#include "relay/admin/status_json.h"

#include <charconv>
#include <chrono>

#include <nlohmann/json.hpp>

namespace millrace::admin {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;  // written keys keep their order
using pipeline::BackfillStatus;
using pipeline::ProofStatus;
using pipeline::SlotStatus;
using pipeline::StagePosition;
using pipeline::StatusSnapshot;
using pipeline::VerifyStatus;

template <typename T>
ordered_json or_null(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

template <typename T>
void take(const json& from, const char* key, T& to) {
  const auto found = from.find(key);
  if (found != from.end() && !found->is_null()) to = found->get<T>();
}

template <typename T>
void take(const json& from, const char* key, std::optional<T>& to) {
  const auto found = from.find(key);
  if (found != from.end() && !found->is_null()) to = found->get<T>();
}

ordered_json write_time(TimeMicros at) {
  return at.value == 0 ? ordered_json(nullptr) : ordered_json(to_string(at));
}

TimeMicros read_time(const json& from, const char* key) {
  std::string text;
  take(from, key, text);
  return parse_time(text).value_or(TimeMicros{});
}

ordered_json write_stage(const std::optional<StagePosition>& stage) {
  if (!stage) return nullptr;
  return {
      {"lsn", to_string(stage->lsn)},
      {"position", stage->position.empty() ? ordered_json(nullptr) : ordered_json(stage->position)},
      {"at", write_time(stage->at)}};
}

std::optional<StagePosition> read_stage(const json& from, const char* key) {
  const auto found = from.find(key);
  if (found == from.end() || !found->is_object()) return std::nullopt;
  StagePosition out;
  std::string lsn;
  take(*found, "lsn", lsn);
  out.lsn = parse_lsn(lsn).value_or(Lsn{});
  take(*found, "position", out.position);
  out.at = read_time(*found, "at");
  return out;
}

ordered_json write_slot(const std::optional<SlotStatus>& slot) {
  if (!slot) return nullptr;
  return {{"name", slot->name},
          {"active", slot->active},
          {"retained_wal_bytes", or_null(slot->retained_wal_bytes)},
          {"max_retained_wal_bytes", slot->max_retained_wal_bytes},
          {"wal_status", slot->wal_status}};
}

SlotStatus read_slot(const json& from) {
  SlotStatus out;
  take(from, "name", out.name);
  take(from, "active", out.active);
  take(from, "retained_wal_bytes", out.retained_wal_bytes);
  take(from, "max_retained_wal_bytes", out.max_retained_wal_bytes);
  take(from, "wal_status", out.wal_status);
  return out;
}

ordered_json write_totals(const pipeline::Totals& totals) {
  return {{"published_rows", totals.published_rows},
          {"published_transactions", totals.published_transactions},
          {"published_groups", totals.published_groups},
          {"applied_rows", totals.applied_rows},
          {"applied_transactions", totals.applied_transactions},
          {"applied_bytes", totals.applied_bytes},
          {"applied_groups", totals.applied_groups},
          {"retries", totals.retries}};
}

void read_totals(const json& from, pipeline::Totals& to) {
  take(from, "published_rows", to.published_rows);
  take(from, "published_transactions", to.published_transactions);
  take(from, "published_groups", to.published_groups);
  take(from, "applied_rows", to.applied_rows);
  take(from, "applied_transactions", to.applied_transactions);
  take(from, "applied_bytes", to.applied_bytes);
  take(from, "applied_groups", to.applied_groups);
  take(from, "retries", to.retries);
}

ordered_json write_backfill(const BackfillStatus& backfill) {
  return {{"state", backfill.state},
          {"table", backfill.table},
          {"percent", or_null(backfill.percent)},
          {"rows_per_s", or_null(backfill.rows_per_s)},
          {"eta_s", or_null(backfill.eta_s)},
          {"why", backfill.why}};
}

void read_backfill(const json& from, BackfillStatus& to) {
  take(from, "state", to.state);
  take(from, "table", to.table);
  take(from, "percent", to.percent);
  take(from, "rows_per_s", to.rows_per_s);
  take(from, "eta_s", to.eta_s);
  take(from, "why", to.why);
}

ordered_json write_verify(const VerifyStatus& verify) {
  ordered_json proofs = ordered_json::array();
  for (const ProofStatus& proof : verify.proofs) {
    proofs.push_back({{"table", proof.table},
                      {"kind", proof.kind},
                      {"verdict", proof.verdict},
                      {"why", proof.why},
                      {"position", proof.position},
                      {"at", write_time(proof.at)},
                      {"age_s", proof.age_s},
                      {"compared", proof.compared},
                      {"differences", proof.differences},
                      {"unresolved", proof.unresolved}});
  }
  ordered_json next = ordered_json::array();
  for (const VerifyStatus::Next& one : verify.next) {
    next.push_back({{"entry", one.entry}, {"due_at", write_time(one.due)}});
  }
  return {{"state", verify.state},
          {"entry", verify.entry},
          {"why", verify.why},
          {"next", std::move(next)},
          {"proofs", std::move(proofs)}};
}

void read_verify(const json& from, VerifyStatus& to) {
  take(from, "state", to.state);
  take(from, "entry", to.entry);
  take(from, "why", to.why);
  if (const auto next = from.find("next"); next != from.end() && next->is_array()) {
    for (const json& one : *next) {
      std::string entry;
      take(one, "entry", entry);
      to.next.push_back({std::move(entry), read_time(one, "due_at")});
    }
  }
  const auto proofs = from.find("proofs");
  if (proofs == from.end() || !proofs->is_array()) return;
  for (const json& one : *proofs) {
    ProofStatus proof;
    take(one, "table", proof.table);
    take(one, "kind", proof.kind);
    take(one, "verdict", proof.verdict);
    take(one, "why", proof.why);
    take(one, "position", proof.position);
    proof.at = read_time(one, "at");
    take(one, "age_s", proof.age_s);
    take(one, "compared", proof.compared);
    take(one, "differences", proof.differences);
    take(one, "unresolved", proof.unresolved);
    to.proofs.push_back(std::move(proof));
  }
}

const json& section(const json& from, const char* key) {
  static const json kEmpty = json::object();
  const auto found = from.find(key);
  return found != from.end() && found->is_object() ? *found : kEmpty;
}

StatusSnapshot read_status(const json& from) {
  StatusSnapshot out;
  take(from, "pipeline", out.pipeline);
  take(from, "role", out.role);
  take(from, "running", out.running);
  take(from, "uptime_s", out.uptime_s);
  std::string state = "ok";
  take(section(from, "health"), "state", state);
  out.health.state = pipeline::parse_health(state).value_or(pipeline::HealthState::stopped);
  take(section(from, "health"), "why", out.health.why);
  const json& positions = section(from, "positions");
  out.positions.received = read_stage(positions, "received");
  out.positions.published = read_stage(positions, "published");
  out.positions.acknowledged = read_stage(positions, "acknowledged");
  out.positions.applied = read_stage(positions, "applied");
  take(section(from, "lag"), "bytes", out.lag.bytes);
  take(section(from, "lag"), "seconds", out.lag.seconds);
  if (const json& slot = section(from, "slot"); !slot.empty()) out.slot = read_slot(slot);
  const json& rates = section(from, "rates");
  take(rates, "rows_per_s", out.rates.applied_rows_per_s);
  take(rates, "transactions_per_s", out.rates.applied_transactions_per_s);
  take(rates, "bytes_per_s", out.rates.applied_bytes_per_s);
  take(rates, "published_rows_per_s", out.rates.published_rows_per_s);
  read_totals(section(from, "totals"), out.totals);
  take(from, "memory_bytes", out.memory_bytes);
  take(from, "parked", out.parked);
  read_backfill(section(from, "backfill"), out.backfill);
  read_verify(section(from, "verify"), out.verify);
  if (const json& error = section(from, "last_error"); !error.empty()) {
    out.last_error.emplace();
    take(error, "message", out.last_error->message);
    take(error, "code", out.last_error->code);
    take(error, "age_s", out.last_error->age_s);
  }
  return out;
}

// Two or more digits at `at`; -1 when there is anything else.
int digits(std::string_view text, size_t at, size_t count) {
  if (at + count > text.size()) return -1;
  int value = 0;
  const char* end = text.data() + at + count;
  const auto [rest, error] = std::from_chars(text.data() + at, end, value);
  return error == std::errc() && rest == end && text[at] != '-' ? value : -1;
}

}  // namespace

std::optional<TimeMicros> parse_time(std::string_view text) {
  // 2026-11-20T10:00:00[.123456]Z
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' ||
      text[16] != ':' || text.back() != 'Z') {
    return std::nullopt;
  }
  const std::chrono::year_month_day date(
      std::chrono::year(digits(text, 0, 4)),
      std::chrono::month(static_cast<unsigned>(digits(text, 5, 2))),
      std::chrono::day(static_cast<unsigned>(digits(text, 8, 2))));
  const int hour = digits(text, 11, 2);
  const int minute = digits(text, 14, 2);
  const int second = digits(text, 17, 2);
  if (digits(text, 0, 4) < 0 || !date.ok() || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
      second < 0 || second > 60) {
    return std::nullopt;
  }
  int64_t micros = 0;
  const std::string_view fraction = text.substr(19, text.size() - 20);
  if (!fraction.empty()) {
    const size_t count = fraction.size() - 1;
    const int value =
        fraction[0] == '.' && count >= 1 && count <= 6 ? digits(fraction, 1, count) : -1;
    if (value < 0) return std::nullopt;
    micros = value;
    for (size_t i = count; i < 6; ++i) micros *= 10;
  }
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const int64_t seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
  return TimeMicros{seconds * 1'000'000 + micros};
}

std::string status_to_json(const StatusSnapshot& status, int indent) {
  ordered_json out;
  out["pipeline"] = status.pipeline;
  out["role"] = status.role;
  out["running"] = status.running;
  out["uptime_s"] = status.uptime_s;
  out["health"] = {{"state", pipeline::to_string(status.health.state)}, {"why", status.health.why}};
  out["positions"] = {{"received", write_stage(status.positions.received)},
                      {"published", write_stage(status.positions.published)},
                      {"acknowledged", write_stage(status.positions.acknowledged)},
                      {"applied", write_stage(status.positions.applied)}};
  out["lag"] = {{"bytes", or_null(status.lag.bytes)}, {"seconds", or_null(status.lag.seconds)}};
  out["slot"] = write_slot(status.slot);
  out["rates"] = {{"rows_per_s", status.rates.applied_rows_per_s},
                  {"transactions_per_s", status.rates.applied_transactions_per_s},
                  {"bytes_per_s", status.rates.applied_bytes_per_s},
                  {"published_rows_per_s", status.rates.published_rows_per_s}};
  out["totals"] = write_totals(status.totals);
  out["memory_bytes"] = status.memory_bytes;
  out["parked"] = status.parked;
  out["backfill"] = write_backfill(status.backfill);
  out["verify"] = write_verify(status.verify);
  out["last_error"] = nullptr;
  if (status.last_error) {
    out["last_error"] = {{"message", status.last_error->message},
                         {"code", status.last_error->code},
                         {"age_s", status.last_error->age_s}};
  }
  // Messages may quote a server's bytes, which need not be UTF-8. ASCII keeps them off terminals.
  return out.dump(indent, ' ', true, json::error_handler_t::replace);
}

Result<StatusSnapshot> status_from_json(std::string_view text) {
  // The library throws; this is the edge.
  try {
    const json parsed = json::parse(text);
    if (!parsed.is_object()) return fail(ErrorCode::corruption, "the status is no JSON object");
    return read_status(parsed);
  } catch (const json::exception& error) {
    return fail(ErrorCode::corruption, std::string("the status can not be read: ") + error.what());
  }
}

}  // namespace millrace::admin
