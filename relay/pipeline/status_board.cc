#include "relay/pipeline/status_board.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <utility>

#include <unistd.h>

namespace millrace::pipeline {
namespace {

constexpr size_t kPendingMost = 1024;
constexpr double kCatchingUpSeconds = 3;

double seconds_between(SteadyTime from, SteadyTime to) {
  return std::chrono::duration<double>(to - from).count();
}

int64_t whole_seconds(SteadyTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

StagePosition stage_position(const Watermark& at) {
  StagePosition out;
  out.lsn = at.end_lsn;
  if (at.commit_lsn) {
    out.position = std::to_string(at.timeline) + ":" + to_string(at.commit_lsn);
  }
  out.at = at.commit_time;
  return out;
}

}  // namespace

StatusBoard::StatusBoard(std::string pipeline, std::string role, const Clock& clock)
    : clock_(clock), started_(clock.now()) {
  state_.pipeline = std::move(pipeline);
  state_.role = std::move(role);
}

void StatusBoard::received(const Watermark& at) {
  std::lock_guard lock(mutex_);
  state_.positions.received = stage_position(at);
  received_ = at;
  // Whoever receives holds the slot; its row was looked at some seconds ago.
  if (state_.slot) state_.slot->active = true;
  note_reached();
}

void StatusBoard::published(const Watermark& at) {
  std::lock_guard lock(mutex_);
  state_.positions.published = stage_position(at);
  if (state_.role == "capture") moved_ = at;
  if (at.commit_time.value != 0 && state_.role != "capture") {
    // Half of the marks are as good: the oldest one, which the lag is counted from, stays.
    if (pending_.size() >= kPendingMost) {
      std::deque<Pending> thinned;
      for (size_t i = 0; i < pending_.size(); i += 2) thinned.push_back(pending_[i]);
      pending_ = std::move(thinned);
    }
    pending_.push_back({at.end_lsn, at.commit_time});
  }
  note_reached();
}

void StatusBoard::acknowledged(const Watermark& at) {
  std::lock_guard lock(mutex_);
  state_.positions.acknowledged = stage_position(at);
}

void StatusBoard::applied(const Watermark& at) {
  std::lock_guard lock(mutex_);
  state_.positions.applied = stage_position(at);
  if (state_.role != "capture") moved_ = at;
  note_reached();
}

void StatusBoard::count_published(uint64_t rows, uint64_t transactions) {
  std::lock_guard lock(mutex_);
  state_.totals.published_rows += rows;
  state_.totals.published_transactions += transactions;
  state_.totals.published_groups += 1;
  this_second().published_rows += rows;
}

void StatusBoard::count_applied(uint64_t rows, uint64_t transactions, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  state_.totals.applied_rows += rows;
  state_.totals.applied_transactions += transactions;
  state_.totals.applied_bytes += bytes;
  state_.totals.applied_groups += 1;
  Second& second = this_second();
  second.applied_rows += rows;
  second.applied_transactions += transactions;
  second.applied_bytes += bytes;
}

void StatusBoard::count_retry() {
  std::lock_guard lock(mutex_);
  state_.totals.retries += 1;
}

void StatusBoard::source_end(Lsn flushed) {
  std::lock_guard lock(mutex_);
  if (newest_ && newest_->lsn >= flushed) return;
  newest_ = Mark{flushed, clock_.now()};
  const auto reached = reached_locked();
  if (!oldest_ && (!reached || *reached < flushed)) oldest_ = newest_;
}

void StatusBoard::slot(const SlotStatus& status) {
  std::lock_guard lock(mutex_);
  state_.slot = status;
}

void StatusBoard::backfill(const BackfillStatus& status) {
  std::lock_guard lock(mutex_);
  state_.backfill = status;
}

void StatusBoard::verify(const VerifyStatus& status) {
  std::lock_guard lock(mutex_);
  state_.verify = status;
}

void StatusBoard::parked(uint64_t rows) {
  std::lock_guard lock(mutex_);
  state_.parked = rows;
}

void StatusBoard::failing(std::string_view stage, HealthState state, std::string why) {
  std::lock_guard lock(mutex_);
  set_stage(stage, Health{state, std::move(why)});
}

bool StatusBoard::running(std::string_view stage) {
  std::lock_guard lock(mutex_);
  const auto found = stages_.find(stage);
  const bool failing = found != stages_.end() && found->second.state != Health{}.state;
  set_stage(stage, Health{});
  return failing;
}

void StatusBoard::error(const Error& error) {
  std::lock_guard lock(mutex_);
  state_.last_error = LastError{error.describe(), std::string(to_string(error.code())), 0};
  last_error_at_ = clock_.now();
}

StatusSnapshot StatusBoard::snapshot() const {
  std::lock_guard lock(mutex_);
  const SteadyTime now = clock_.now();
  StatusSnapshot out = state_;
  out.uptime_s = seconds_between(started_, now);
  out.lag = lag_locked();
  out.rates = rates_locked();
  out.health = health_locked(out.lag);
  out.memory_bytes = resident_bytes();
  const TimeMicros wall = clock_.wall();
  for (ProofStatus& proof : out.verify.proofs) {
    proof.age_s = static_cast<double>(std::max<int64_t>(0, wall.value - proof.at.value)) / 1e6;
  }
  if (out.last_error) out.last_error->age_s = seconds_between(last_error_at_, now);
  return out;
}

StatusBoard::Second& StatusBoard::this_second() {
  const int64_t at = whole_seconds(clock_.now());
  Second& second = seconds_[static_cast<size_t>(at) % kSeconds];
  if (second.at != at) {
    second = Second{};
    second.at = at;
  }
  return second;
}

void StatusBoard::set_stage(std::string_view stage, Health health) {
  const auto found = stages_.find(stage);
  if (found == stages_.end()) {
    stages_.emplace(std::string(stage), std::move(health));
  } else {
    found->second = std::move(health);
  }
}

// Where capture has seen nothing newer than what is applied, the target stands level with all WAL
// that capture has looked at: an idle stream has no lag, however much foreign WAL passes.
std::optional<Lsn> StatusBoard::reached_locked() const {
  if (!moved_) return std::nullopt;
  if (received_ && received_->commit_lsn <= moved_->commit_lsn) {
    return std::max(received_->end_lsn, moved_->end_lsn);
  }
  return moved_->end_lsn;
}

void StatusBoard::note_reached() {
  const auto reached = reached_locked();
  if (!reached) return;
  while (!pending_.empty() && pending_.front().end <= *reached) pending_.pop_front();
  if (oldest_ && *reached >= oldest_->lsn) {
    oldest_.reset();
    if (newest_ && newest_->lsn > *reached) oldest_ = newest_;
  }
}

Rates StatusBoard::rates_locked() const {
  const SteadyTime now = clock_.now();
  const int64_t at = whole_seconds(now);
  Second sum;
  for (const Second& second : seconds_) {
    if (second.at < 0 || second.at >= at || second.at < at - 10) continue;
    sum.published_rows += second.published_rows;
    sum.applied_rows += second.applied_rows;
    sum.applied_transactions += second.applied_transactions;
    sum.applied_bytes += second.applied_bytes;
  }
  const double span = std::clamp(static_cast<double>(at - whole_seconds(started_)), 1.0, 10.0);
  Rates out;
  out.published_rows_per_s = static_cast<double>(sum.published_rows) / span;
  out.applied_rows_per_s = static_cast<double>(sum.applied_rows) / span;
  out.applied_transactions_per_s = static_cast<double>(sum.applied_transactions) / span;
  out.applied_bytes_per_s = static_cast<double>(sum.applied_bytes) / span;
  return out;
}

// Seconds are counted from the oldest thing that the target lacks: the commit time of the oldest
// group that waits in the log, or the moment when an end of WAL was first seen that is not reached
// yet. The age of the last applied commit would show hours after a quiet night.
Lag StatusBoard::lag_locked() const {
  Lag out;
  const auto reached = reached_locked();
  if (!reached) return out;
  const SteadyTime now = clock_.now();
  double seconds = 0;
  if (oldest_) seconds = seconds_between(oldest_->seen, now);
  if (!pending_.empty()) {
    const int64_t age = clock_.wall().value - pending_.front().commit_time.value;
    seconds = std::max(seconds, static_cast<double>(age) / 1e6);
  }
  uint64_t end = newest_ ? newest_->lsn.value : 0;
  if (state_.positions.received) end = std::max(end, state_.positions.received->lsn.value);
  if (state_.positions.published) end = std::max(end, state_.positions.published->lsn.value);
  out.bytes = end > reached->value ? end - reached->value : 0;
  out.seconds = *out.bytes == 0 ? 0 : std::max(seconds, 0.0);
  return out;
}

Health StatusBoard::health_locked(const Lag& lag) const {
  Health worst;
  for (const auto& [stage, health] : stages_) {
    if (health.state > worst.state) {
      worst.state = health.state;
      worst.why = stage + ": " + health.why;
    }
  }
  const bool calm = worst.state == HealthState::ok;
  if (calm && state_.slot && state_.slot->wal_status == "unreserved") {
    worst = Health{HealthState::catching_up,
                   "slot " + state_.slot->name +
                       " may be lost at the source's next checkpoint (wal_status unreserved): "
                       "raise max_slot_wal_keep_size"};
  } else if (calm && lag.seconds && *lag.seconds >= kCatchingUpSeconds) {
    char why[64];
    std::snprintf(why, sizeof why, "%.1f s behind the source", *lag.seconds);
    worst = Health{HealthState::catching_up, why};
  }
  if (state_.parked > 0 && worst.state <= HealthState::catching_up) {
    worst.why += (worst.why.empty() ? "" : "; ") + std::to_string(state_.parked) +
                 " changes are parked (millrace letters list)";
  }
  const std::string& copy = state_.backfill.state;
  if (copy != "none" && copy != "done" && worst.state <= HealthState::catching_up) {
    const bool moves = copy == "running" || copy == "waiting";
    worst.why += std::string(worst.why.empty() ? "" : "; ") + "the target is not complete: " +
                 (moves ? "it is being filled" : "a copy is " + copy);
  }
  return worst;
}

uint64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  if (!(in >> total >> resident)) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace millrace::pipeline
