// The part of Capture that deals with a halt: reads no more, until the slot is below its limit.
#include "relay/base/logging.h"
#include "relay/pipeline/capture.h"

namespace millrace::pipeline {
namespace {

constexpr Millis kIdleWait{100};
constexpr Millis kSlotRetry{200};
constexpr Millis kHaltedWait{5000};

}  // namespace

bool Capture::may_acknowledge_more(Lsn confirmed) const {
  const auto applied = shared_.applied();
  return options_.acknowledge_applied && applied && applied->end_lsn > confirmed;
}

// The server moves the slot's restart LSN, which retained WAL is counted from, as its decoding
// passes over what is confirmed already. So taking the slot may be all that a halt needs to end.
Status Capture::let_slot_catch_up(source::SlotCatalog& catalog, std::stop_token stop) {
  const auto deadline = clock_.now() + kHaltedWait;
  while (true) {
    TRY_ASSIGN(const auto slot, catalog.slot(options_.source.slot));
    if (!slot) return fail(ErrorCode::retryable, "slot " + options_.source.slot + " vanished");
    halted_at_ = slot->confirmed_flush_lsn;
    if (!options_.retained.exceeded_by(*slot)) {
      shared_.set_halt(std::nullopt);
      return {};
    }
    if (clock_.now() >= deadline) return fail(too_much_retained(*slot, options_.retained));
    if (!clock_.sleep_for(stop, kSlotRetry)) return fail(ErrorCode::cancelled, "stopped");
  }
}

// Halted: reads no more, but stays until the slot was told all that target and log have, since that
// alone may bring it below its limit.
Status Capture::wind_down(source::SlotStream& replication, std::stop_token stop, const Error& why) {
  board_.error(why);
  board_.failing("capture", HealthState::stopped, why.describe());
  logging::error("capture reads no more", {{"error", why.describe()}});
  if (!publisher_->acknowledgeable() && !publisher_->in_transaction()) {
    TRY(publisher_->progress(publisher_->head()));  // what is acknowledged must be a manifest's
  }
  while (!stop.stop_requested() && !options_.exit_on_stop) {
    TRY(publisher_->tick(true, kIdleWait));
    acknowledge(replication);
    TRY(replication.failure());
    if (!shared_.halt()) {
      board_.running("capture");
      return {};
    }
    const auto& last = publisher_->acknowledgeable();
    const bool told_all = !last || acknowledged_ >= last->manifest.last.end_lsn;
    if (told_all && !publisher_->in_flight()) break;
    clock_.sleep_for(stop, kIdleWait);
  }
  finish(replication);
  return fail(why);
}

}  // namespace millrace::pipeline
