// Apply, the part that gives copies of history their turn.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "relay/base/logging.h"
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
  if (now.why.empty() && stream_waits_until_) {
    const double left = std::chrono::duration<double>(*stream_waits_until_ - clock_.now()).count();
    now.why = fmt::format("the stream waits for it, {:.0f} s more at most (backfill.head_start)",
                          std::max(left, 0.0));
  }
  board_.backfill({now.state, now.table, now.percent, now.rows_per_s, now.eta_s, now.why});
  return {};
}

// While nothing of the stream is applied.
Status Apply::turn_alone(const std::stop_token& stop) {
  TRY(give_turn(false));
  if (clock_.sleep_for(stop, idle_wait())) return {};
  return fail(ErrorCode::cancelled, "stopped");
}

// A row that does not fit may lack one that a copy brings, mostly a parent. So copies go on while
// the stream is stopped, and it is tried again now and then.
Status Apply::copy_while_stopped(const std::stop_token& stop) {
  const SteadyTime until = clock_.now() + options_.stopped_retry;
  while (options_.backfill->running() && clock_.now() < until) TRY(turn_alone(stop));
  return {};
}

// Nobody reads a target that is not filled yet, and a change of a row that is still to be copied
// costs every row behind it a search of the key's index: the server inserts at its right end
// without one. So the stream, which the log keeps, waits a little while the first copy moves.
Status Apply::copy_first(const std::stop_token& stop) {
  if (options_.backfill == nullptr || applied_.watermark.commit_lsn != Lsn{}) return {};
  const SteadyTime began = clock_.now();
  const SteadyTime until = began + options_.head_start;
  if (began >= until || !options_.backfill->running()) return {};
  stream_waits_until_ = until;
  shared_.set_stream_waits(true);
  logging::info("the stream waits for the first copy",
                {{"at_most_s", options_.head_start.count() / 1000}, {"by", "backfill.head_start"}});
  Status copied;
  while (copied && options_.backfill->moves() && clock_.now() < until) {
    copied = turn_alone(stop);
  }
  shared_.set_stream_waits(false);
  stream_waits_until_.reset();
  told_backfill_at_ = {};
  const auto took = std::chrono::duration_cast<Millis>(clock_.now() - began);
  logging::info("the stream has waited for the first copy",
                {{"ms", took.count()}, {"goes_on_beside", options_.backfill->running()}});
  return copied;
}

}  // namespace millrace::pipeline
