#include "relay/pipeline/monitor.h"

#include <utility>

#include "relay/base/backoff.h"
#include "relay/base/logging.h"

namespace millrace::pipeline {

Monitor::Monitor(MonitorOptions options, StatusBoard& board)
    : options_(std::move(options)),
      board_(board),
      thread_([this](std::stop_token stop) { run(std::move(stop)); }) {}

void Monitor::run(std::stop_token stop) {
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
  status.max_retained_wal_bytes = options_.max_retained_wal_bytes;
  if (slot) {
    status.active = slot->active;
    status.retained_wal_bytes = slot->retained_bytes;
    status.wal_status = slot->wal_status;
    const bool over = options_.max_retained_wal_bytes > 0 &&
                      slot->retained_bytes > options_.max_retained_wal_bytes;
    if (over && !warned_) {
      logging::warn("the slot retains more WAL than max_retained_wal",
                    {{"slot", status.name},
                     {"retained_wal_bytes", slot->retained_bytes},
                     {"max_retained_wal_bytes", options_.max_retained_wal_bytes}});
    }
    warned_ = over;
  }
  board_.slot(status);
  TRY_ASSIGN(const auto publication, catalog.publication(options_.source.publication));
  publication_is_missing_ = !publication.has_value();
  return {};
}

}  // namespace millrace::pipeline
