#include "relay/chunk/job_reader.h"

#include <algorithm>
#include <utility>

#include "relay/base/backoff.h"
#include "relay/base/failpoint.h"
#include "relay/base/logging.h"
#include "relay/base/thread_name.h"

namespace millrace::chunk {
namespace {

constexpr Millis kSeenEvery{50};
constexpr Millis kThrottleEvery{200};
constexpr Millis kShapeKnownFor{2000};
constexpr size_t kChunksAhead = 2;
constexpr size_t kKeysAtOnce = 500;

double seconds_since(SteadyTime from, const Clock& clock) {
  return std::chrono::duration<double>(clock.now() - from).count();
}

}  // namespace

bool ChunkBudget::take(uint64_t bytes, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const auto fits = [&] { return held_ == 0 || held_ + bytes <= bytes_; };
  if (!freed_.wait(lock, stop, fits)) return false;
  held_ += bytes;
  return true;
}

void ChunkBudget::give(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  held_ -= bytes;
  freed_.notify_all();
}

JobReader::JobReader(sink::CopyJob job, ReaderOptions options)
    : job_(std::move(job)),
      options_(std::move(options)),
      pacing_(options_.chunk_time, options_.chunk_bytes),
      throttle_(*options_.throttle, *options_.clock),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

JobReader::~JobReader() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
  for (const sink::Chunk& chunk : chunks_) options_.budget->give(chunk.copy.size());
}

std::optional<sink::CopyJob> JobReader::take_prepared() {
  const std::lock_guard lock(mutex_);
  return std::exchange(prepared_, std::nullopt);
}

void JobReader::go() {
  const std::lock_guard lock(mutex_);
  go_ = true;
  changed_.notify_all();
}

sink::Chunk* JobReader::front() {
  const std::lock_guard lock(mutex_);
  return chunks_.empty() ? nullptr : &chunks_.front();  // a deque's front stays where it is
}

void JobReader::pop(double seconds) {
  const std::lock_guard lock(mutex_);
  pacing_.wrote(chunks_.front().rows, seconds);
  options_.budget->give(chunks_.front().copy.size());
  chunks_.pop_front();
  changed_.notify_all();
}

std::optional<Error> JobReader::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

JobReader::State JobReader::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

void JobReader::set_state(std::string why, bool throttled) {
  const std::lock_guard lock(mutex_);
  state_ = {std::move(why), throttled};
}

void JobReader::run(const std::stop_token& stop) {
  name_this_thread("copy");
  Backoff backoff;
  while (!stop.stop_requested()) {
    auto done = attempt(stop);
    if (done || stop.stop_requested()) return;
    const Error error = std::move(done).error();
    if (error.code() != ErrorCode::retryable) {
      const std::lock_guard lock(mutex_);
      failure_ = error;
      return;
    }
    logging::warn("a copy tries again", {{"table", job_.table}, {"error", error.describe()}});
    set_state(error.describe());
    options_.clock->sleep_for(stop, backoff.next());
  }
}

Status JobReader::attempt(const std::stop_token& stop) {
  if (!source_) source_ = options_.source(stop);
  TRY_ASSIGN(table_, source_->table(job_.table));
  table_until_ = options_.clock->now() + kShapeKnownFor;
  if (table_->key.empty()) {
    return fail(ErrorCode::bad_data, job_.table + " has no key, so no order to read it by",
                "give it a primary key, or copy it by hand");
  }
  if (!is_prepared_) TRY(prepare(stop));
  is_prepared_ = true;
  set_state("");
  return read_all(stop);
}

Status JobReader::prepare(const std::stop_token& stop) {
  const bool waits = job_.state == sink::JobState::waiting;
  if (!job_.floor || (job_.restarts > 0 && !job_.done_to)) TRY(wait_until_seen(stop));
  if (!job_.floor) job_.floor = mark_->lsn;
  // After the mark was seen: what is larger and committed later comes by the stream.
  if (!job_.until && job_.kind != sink::JobKind::keys) {
    TRY_ASSIGN(job_.until, source_->largest_key(*table_, range()));
  }
  if (!waits) return {};
  if (job_.kind == sink::JobKind::keys) {
    job_.rows_estimated = job_.keys.size();
  } else {
    source::RowRange asked = range();
    asked.until = job_.until;
    const bool whole = !job_.after && job_.where.empty() && !job_.done_to;
    if (whole) asked = {};
    TRY_ASSIGN(job_.rows_estimated, source_->estimate(*table_, asked));
  }
  return wait_for_go(stop);
}

Status JobReader::wait_until_seen(const std::stop_token& stop) {
  if (!mark_) {
    TRY_ASSIGN(mark_, source_->mark());
  }
  while (!is_seen_) {
    TRY_ASSIGN(is_seen_, source_->seen(*mark_));
    if (is_seen_) break;
    TRY_ASSIGN(std::string whom, source_->waiting_for(*mark_));
    set_state("waits until all that was committed can be seen; it waits for " +
              (whom.empty() ? "a transaction that has just ended" : whom));
    if (!options_.clock->sleep_for(stop, kSeenEvery)) return fail(ErrorCode::cancelled, "stopped");
  }
  return {};
}

Status JobReader::wait_for_go(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  if (!go_) prepared_ = job_;
  if (!changed_.wait(lock, stop, [this] { return go_; })) {
    return fail(ErrorCode::cancelled, "stopped");
  }
  return {};
}

source::RowRange JobReader::range() const {
  return {job_.done_to ? job_.done_to : job_.after, job_.until, job_.where};
}

Status JobReader::read_all(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    TRY(hold_back(stop));
    if (options_.clock->now() >= table_until_) {
      TRY_ASSIGN(table_, source_->table(job_.table));
      table_until_ = options_.clock->now() + kShapeKnownFor;
    }
    sink::Chunk chunk;
    chunk.job = job_.id;
    chunk.restarts = job_.restarts;
    chunk.table = table_->schema;
    chunk.floor = job_.floor;
    TRY_ASSIGN(chunk.last, job_.kind == sink::JobKind::keys ? read_keys(chunk) : read_range(chunk));
    MILLRACE_FAILPOINT(backfill_read);
    const bool last = chunk.last;
    if (chunk.last_key) job_.done_to = chunk.last_key;
    TRY(hand_over(std::move(chunk), stop));
    if (last) return {};
  }
  return fail(ErrorCode::cancelled, "stopped");
}

Result<bool> JobReader::read_range(sink::Chunk& chunk) {
  // Without a largest key there was no row when it was looked for.
  if (!job_.until) return true;
  const SteadyTime began = options_.clock->now();
  TRY_ASSIGN(source::Piece piece, source_->read(*table_, range(),
                                                {pacing_.next_rows(), options_.chunk_bytes,
                                                 binary_ && !options_.text_only}));
  pacing_.read(piece.rows, piece.copy.size(), seconds_since(began, *options_.clock));
  chunk.copy = std::move(piece.copy);
  chunk.binary = piece.binary;
  chunk.rows = piece.rows;
  chunk.first_key = std::move(piece.first_key);
  chunk.last_key = std::move(piece.last_key);
  return piece.end;
}

// done_to is the last key asked for, whether it was there or not.
Result<bool> JobReader::read_keys(sink::Chunk& chunk) {
  auto from = job_.keys.begin();
  if (job_.done_to) {
    const auto at = std::find(job_.keys.begin(), job_.keys.end(), *job_.done_to);
    if (at != job_.keys.end()) from = at + 1;
  }
  const auto left = static_cast<size_t>(job_.keys.end() - from);
  const std::vector<sink::KeyText> keys(
      from, from + static_cast<std::ptrdiff_t>(std::min(left, kKeysAtOnce)));
  if (keys.empty()) return true;
  TRY_ASSIGN(source::Piece piece, source_->read_keys(*table_, keys, chunk.absent));
  chunk.copy = std::move(piece.copy);
  chunk.rows = piece.rows;
  chunk.first_key = keys.front();
  chunk.last_key = keys.back();
  return left <= kKeysAtOnce;
}

Status JobReader::hold_back(const std::stop_token& stop) {
  while (true) {
    const std::string reason = throttle_.reason(*source_);
    set_state(reason, !reason.empty());
    if (reason.empty()) return {};
    if (!options_.clock->sleep_for(stop, kThrottleEvery)) {
      return fail(ErrorCode::cancelled, "stopped");
    }
  }
}

Status JobReader::hand_over(sink::Chunk chunk, const std::stop_token& stop) {
  const uint64_t bytes = chunk.copy.size();
  std::unique_lock lock(mutex_);
  const bool has_room = changed_.wait(lock, stop, [this] { return chunks_.size() < kChunksAhead; });
  lock.unlock();
  if (!has_room || !options_.budget->take(bytes, stop)) {
    return fail(ErrorCode::cancelled, "stopped");
  }
  lock.lock();
  chunks_.push_back(std::move(chunk));
  return {};
}

}  // namespace millrace::chunk
