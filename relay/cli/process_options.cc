// The part of Process that tells the stages what the config says, and keeps what they report.
#include <algorithm>
#include <atomic>
#include <utility>

#include "relay/base/failpoint.h"
#include "relay/base/logging.h"
#include "relay/cli/process.h"
#include "relay/cli/verify_schedule.h"

namespace millrace::cli {
namespace {

constexpr Millis kHour{3'600'000};
constexpr Millis kWarningsApart{10'000};

checkpoint::Entry entry_of(checkpoint::Kind kind, const std::string& pipeline,
                           const Watermark& watermark, const Manifest& manifest, LogOffset offset) {
  checkpoint::Entry entry;
  entry.kind = kind;
  entry.pipeline = pipeline;
  entry.watermark = watermark;
  entry.token = manifest.token;
  entry.manifest_offset = offset;
  entry.epoch = manifest.epoch;
  entry.system_identifier = manifest.system_identifier;
  entry.at = manifest.published_at;
  return entry;
}

// The folder is a copy of what the log knows: a failed write is worth a warning now and then, not a
// stop.
void put_or_warn(checkpoint::Store& store, const checkpoint::Entry& entry) {
  static std::atomic<SteadyTime> next_warning{SteadyTime::min()};
  if (auto put = store.put(entry, false); !put) {
    const SteadyTime now = system_clock().now();
    if (now < next_warning.load()) return;
    next_warning = now + kWarningsApart;
    logging::warn("offsets could not be written", {{"error", put.error().describe()}});
  }
}

}  // namespace

pipeline::SupervisorOptions Process::supervisor_options() {
  pipeline::SupervisorOptions options;
  if (captures()) {
    options.capture = capture_options();
    options.monitor = pipeline::MonitorOptions{source_options(config_), retained_wal_limit(config_),
                                               carried_, Millis(5000)};
  }
  if (applies()) options.apply = apply_options();
  return options;
}

pipeline::CaptureOptions Process::capture_options() {
  pipeline::CaptureOptions options;
  options.source = source_options(config_);
  const auto router = std::make_shared<const transform::TableRouter>(make_router(config_));
  options.is_ours = [router](const TableSchema& table) {
    return router->route(table.schema, table.name).has_value();
  };
  pipeline::PublisherOptions& publisher = options.publisher;
  publisher.topic_of = [router](const TableSchema& table) {
    return router->route(table.schema, table.name)->topic;
  };
  publisher.pipeline = config_.pipeline;
  publisher.publisher = publisher_name();
  publisher.group_rows = config_.publish.rows;
  publisher.group_bytes = config_.publish.bytes;
  publisher.group_wait = config_.publish.wait;
  publisher.schema_refresh = shape_refresh();
  options.repeat_interval = shape_refresh();
  options.acknowledge_applied = config_.log.acknowledge == config::Acknowledge::applied;
  options.target_known = applies();
  options.slot_wait = config_.source.slot_wait;
  options.spill_folder = spill_folder(config_);
  options.retained = retained_wal_limit(config_);
  options.exit_on_stop = exits_on_stop();
  options.goal = goal_;
  options.end_at_goal = !applies();
  if (auto latest = capture_store_->latest(checkpoint::Kind::published); latest && *latest) {
    options.manifest_hint = pipeline::ManifestHint{(*latest)->manifest_offset, (*latest)->token};
  }
  options.on_published = [this](const pipeline::Published& group) {
    MILLRACE_FAILPOINT_HERE(capture_checkpoint);
    put_or_warn(*capture_store_, entry_of(checkpoint::Kind::published, config_.pipeline,
                                          group.manifest.last, group.manifest, group.offset));
  };
  options.on_acknowledged = [this](const Watermark& acknowledged, const pipeline::Published& last) {
    put_or_warn(*capture_store_, entry_of(checkpoint::Kind::acknowledged, config_.pipeline,
                                          acknowledged, last.manifest, last.offset));
  };
  return options;
}

// Later manifests may name schema records that stand before an applied one, but none that is older
// than the time after which shapes are repeated: the manifest topic is let go that far behind.
LogOffset Process::releasable_control(LogOffset applied) {
  const SteadyTime now = system_clock().now();
  const Millis refresh = shape_refresh();
  if (applied_marks_.empty() || now - applied_marks_.back().at >= refresh / 8) {
    applied_marks_.push_back({now, applied});
  }
  while (!applied_marks_.empty() && now - applied_marks_.front().at >= 2 * refresh) {
    released_control_ = applied_marks_.front().offset;
    applied_marks_.pop_front();
  }
  return released_control_;
}

// Shapes and the last manifest must be younger than what retention removes.
Millis Process::shape_refresh() const { return std::min(kHour, config_.log.retention / 4); }

pipeline::ApplyOptions Process::apply_options() {
  pipeline::ApplyOptions options;
  options.pipeline = config_.pipeline;
  options.group_rows = config_.apply.group.rows;
  options.group_bytes = config_.apply.group.bytes;
  options.after_capture = captures();
  options.group_wait = config_.apply.group.wait;
  options.applier_wait = config_.target.applier_wait;
  options.exit_on_stop = exits_on_stop();
  options.park = config_.target.on_bad_row == config::OnBadRow::park;
  options.parked_max = config_.target.max_parked;
  options.goal = goal_;
  options.backfill = backfill_.get();
  options.head_start = config_.backfill.head_start;
  if (schedule_ && context_.until_caught_up) {
    options.may_end = [this] { return schedule_->may_end(); };
  }
  options.on_applied = [this](const sink::Applied& applied, const Manifest& manifest) {
    MILLRACE_FAILPOINT_HERE(apply_checkpoint);
    put_or_warn(*apply_store_, entry_of(checkpoint::Kind::applied, config_.pipeline,
                                        applied.watermark, manifest, applied.manifest_offset));
    log_->release_before(releasable_control(applied.manifest_offset), manifest.ranges);
  };
  return options;
}

}  // namespace millrace::cli
