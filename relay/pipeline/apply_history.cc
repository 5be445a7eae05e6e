// Apply, the part that gives copies of history their turn.
#include <utility>

#include "relay/pipeline/apply.h"

namespace millrace::pipeline {
namespace {

constexpr Millis kBackfillTold{500};

}  // namespace

Status Apply::begin_backfill(std::stop_token stop) {
  if (options_.backfill == nullptr) return {};
  TRY(target_.applied());  // chunks stand on what was read last, and an origin was only written
  stamp_.token = applied_.token;  // of what chunks park
  stamp_.epoch = applied_.epoch;
  const bool parks = parking_ && parking_->takes_new();
  return options_.backfill->attach(target_, applied_.watermark.commit_lsn == Lsn{}, std::move(stop),
                                   parks ? &*parking_ : nullptr);
}

Status Apply::give_turn(bool busy) {
  if (options_.backfill == nullptr) return {};
  if (parking_) parking_->forget_news();
  TRY(options_.backfill->turn(busy));
  if (parking_ && parking_->news().failed > 0) tell_parked();
  if (clock_.now() < told_backfill_at_ + kBackfillTold) return {};
  told_backfill_at_ = clock_.now();
  chunk::Progress now = options_.backfill->progress();
  board_.backfill({now.state, now.table, now.percent, now.rows_per_s, now.eta_s, now.why});
  return {};
}

// A row that does not fit may lack one that a copy brings, mostly a parent. So copies go on while
// the stream is stopped, and it is tried again now and then.
Status Apply::copy_while_stopped(const std::stop_token& stop) {
  const SteadyTime until = clock_.now() + options_.stopped_retry;
  while (options_.backfill->running() && clock_.now() < until) {
    TRY(give_turn(false));
    if (!clock_.sleep_for(stop, idle_wait())) return fail(ErrorCode::cancelled, "stopped");
  }
  return {};
}

}  // namespace millrace::pipeline
