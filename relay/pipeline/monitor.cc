#include "relay/pipeline/monitor.h"

#include <utility>

#include "relay/base/backoff.h"
#include "relay/base/logging.h"
#include "relay/base/thread_name.h"

namespace millrace::pipeline {
namespace {

constexpr Millis kDropPatience{15'000};

}  // namespace

Monitor::Monitor(MonitorOptions options, Shared& shared, StatusBoard& board)
    : options_(std::move(options)),
      shared_(shared),
      board_(board),
      thread_([this](std::stop_token stop) { run(std::move(stop)); }) {}

std::optional<Error> Monitor::verdict() const {
  const std::lock_guard lock(mutex_);
  return verdict_;
}

void Monitor::set_verdict(Error error) {
  const std::lock_guard lock(mutex_);
  if (!verdict_) verdict_ = std::move(error);
}

bool Monitor::wants_slot_dropped() const {
  const std::lock_guard lock(mutex_);
  return unwanted_.has_value();
}

Error Monitor::drop_slot() {
  std::optional<source::SlotInfo> slot;
  {
    const std::lock_guard lock(mutex_);
    slot = unwanted_;
  }
  if (!slot) return Error(ErrorCode::fatal, "no slot is to be dropped");
  source::Catalog catalog(options_.source);
  return give_up_slot(catalog, *slot, options_.retained, kDropPatience);
}

void Monitor::run(std::stop_token stop) {
  name_this_thread("monitor");
  options_.source.stop = stop;
  source::Catalog catalog(options_.source);
  bool failing = false;
  while (!stop.stop_requested()) {
    const auto looked = look(catalog);
    if (!looked && !failing) {
      logging::warn("the source can not be watched", {{"error", looked.error().describe()}});
    }
    failing = !looked;
    sleep_for(stop, options_.interval);
  }
}

Status Monitor::look(source::Catalog& catalog) {
  TRY(catalog.connect());
  TRY_ASSIGN(const auto slot, catalog.slot(options_.source.slot));
  SlotStatus status;
  status.name = options_.source.slot;
  status.max_retained_wal_bytes = options_.retained.bytes;
  if (slot) {
    status.active = slot->active;
    status.retained_wal_bytes = slot->retained_bytes;
    status.wal_status = slot->wal_status;
    look_at_slot(*slot);
  }
  board_.slot(status);
  TRY_ASSIGN(auto gap, publication_gap(catalog, options_.source.publication, options_.tables));
  if (gap) set_verdict(std::move(*gap));
  return {};
}

void Monitor::look_at_slot(const source::SlotInfo& slot) {
  if (slot.is_lost()) set_verdict(slot_is_lost(slot));
  const bool unreserved = slot.wal_status == "unreserved";
  if (unreserved && !std::exchange(warned_unreserved_, true)) {
    logging::warn(
        "the slot may be lost at the source's next checkpoint: raise max_slot_wal_keep_size, or "
        "mend what holds the stream up",
        {{"slot", slot.name}, {"retained_wal_bytes", slot.retained_bytes}});
  }
  warned_unreserved_ = unreserved;

  const bool over = options_.retained.exceeded_by(slot);
  if (over && !std::exchange(warned_, true)) {
    logging::warn("the slot retains more WAL than max_retained_wal",
                  {{"slot", slot.name},
                   {"retained_wal_bytes", slot.retained_bytes},
                   {"max_retained_wal_bytes", options_.retained.bytes}});
  }
  warned_ = over;
  if (options_.retained.action == OnRetainedWal::stop) {
    shared_.set_halt(over ? std::optional(too_much_retained(slot, options_.retained))
                          : std::nullopt);
  }
  const bool ours = slot.plugin == "pgoutput" && !slot.is_temporary;
  if (over && ours && options_.retained.action == OnRetainedWal::drop_slot) {
    const std::lock_guard lock(mutex_);
    if (!unwanted_) unwanted_ = slot;
  }
}

}  // namespace millrace::pipeline
