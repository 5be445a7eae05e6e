#include "relay/chunk/backfill.h"

#include <algorithm>
#include <array>
#include <utility>

#include "relay/base/failpoint.h"
#include "relay/base/logging.h"

namespace millrace::chunk {

using sink::CopyJob;
using sink::JobState;

namespace {

constexpr uint64_t kMostChunkBytes = 12U << 20;
constexpr std::chrono::seconds kMoves{5};

// It needs no hand for that.
bool goes_on(const CopyJob& job) {
  return job.state == JobState::waiting || job.state == JobState::running;
}

}  // namespace

Backfill::Backfill(Options options, const Clock& clock)
    : options_(std::move(options)), clock_(clock), budget_(options_.memory) {}

Status Backfill::attach(sink::Target& target, bool fresh, std::stop_token stop,
                        sink::RowPark* park) {
  detach();
  park_ = park;
  stop_ = std::move(stop);
  target_ = &target;
  moved_at_ = clock_.now();
  box_ = target.history();
  if (box_ == nullptr) return {};
  TRY_ASSIGN(auto jobs, box_->jobs());
  if (!jobs) {
    box_ = nullptr;  // no place was made for it: setup: manual, by an older version
    return {};
  }
  jobs_ = std::move(*jobs);
  if (options_.on_start) TRY(add_jobs_on_start(fresh));
  return reload();
}

void Backfill::detach() {
  for (const auto& reader : readers_) reader->request_stop();
  readers_.clear();
  marks_.reset();
  watched_.reset();
  adapted_.clear();
  jobs_.clear();
  box_ = nullptr;
}

CopyJob* Backfill::find(int64_t id) {
  const auto at =
      std::find_if(jobs_.begin(), jobs_.end(), [id](const CopyJob& j) { return j.id == id; });
  return at == jobs_.end() ? nullptr : &*at;
}

void Backfill::drop(int64_t id) {
  std::erase_if(readers_, [id](const auto& reader) { return reader->job() == id; });
}

Status Backfill::reload() {
  TRY_ASSIGN(auto jobs, box_->jobs());
  jobs_ = jobs ? std::move(*jobs) : Jobs();
  stale_ = false;
  next_look_ = clock_.now() + options_.look_every;
  end_readers();
  TRY(watch_open_tables());
  TRY(learn_kin());
  start_readers();
  return options_.exit_on_stop ? nothing_paused() : Status();
}

Status Backfill::nothing_paused() const {
  for (const CopyJob& job : jobs_) {
    if (job.state != JobState::paused) continue;
    return fail(ErrorCode::bad_data, "the copy of " + job.table + " is paused: " + job.why,
                "mend that and `millrace backfill resume --table " + job.table +
                    "`, or `cancel` it; then run again");
  }
  return {};
}

// Before any mark of a new job is made, and as soon as a job has ended.
Status Backfill::watch_open_tables() {
  std::vector<std::string> tables;
  for (const CopyJob& job : jobs_) {
    if (job.open()) tables.push_back(job.table);
  }
  if (watched_ == tables) return {};
  // The target keeps the old one until it has the new one.
  auto rows = options_.rows(stop_);
  TRY(box_->watch(tables, rows.get()));
  rows_ = std::move(rows);
  watched_ = std::move(tables);
  return {};
}

void Backfill::end_readers() {
  const auto is_void = [this](const std::unique_ptr<JobReader>& reader) {
    const CopyJob* job = find(reader->job());
    return job == nullptr || !job->open() || job->state == JobState::paused ||
           job->restarts != reader->restarts();
  };
  for (const auto& reader : readers_) {
    if (is_void(reader)) reader->request_stop();  // all at once, before the first is waited for
  }
  std::erase_if(readers_, is_void);
}

Status Backfill::learn_kin() {
  if (!open()) return {};
  for (const TableSchemaPtr& table : options_.tables) {
    const std::string name = display_name(*table);
    if (kin_.contains(name)) continue;
    TRY_ASSIGN(kin_[name], box_->kin(*table));
  }
  return {};
}

// A row whose parent is not there does not fit. A parent whose copy is paused is not waited for:
// who resumes it may be away.
bool Backfill::waits_for_parent(const CopyJob& job) const {
  const auto own = kin_.find(job.table);
  if (own == kin_.end() || job.kind == sink::JobKind::keys) return false;
  const auto& above = own->second.above;
  return std::any_of(jobs_.begin(), jobs_.end(), [&](const CopyJob& other) {
    const auto its = kin_.find(other.table);
    return goes_on(other) && its != kin_.end() &&
           std::find(above.begin(), above.end(), its->second.name) != above.end();
  });
}

void Backfill::start_readers() {
  for (const CopyJob& job : jobs_) {
    if (readers_.size() >= options_.parallel) return;
    if (!goes_on(job) || waits_for_parent(job)) continue;
    const bool has_one = std::any_of(readers_.begin(), readers_.end(), [&job](const auto& reader) {
      return reader->job() == job.id;
    });
    if (has_one) continue;
    ReaderOptions reader;
    reader.source = options_.source;
    reader.chunk_time = options_.chunk_time;
    reader.text_only = text_only_.contains(job.id);
    reader.chunk_bytes = std::min<uint64_t>(
        kMostChunkBytes, options_.memory / std::max<size_t>(2, options_.parallel));
    reader.throttle = &options_.throttle;
    reader.clock = &clock_;
    reader.budget = &budget_;
    readers_.push_back(std::make_unique<JobReader>(job, std::move(reader)));
  }
}

Status Backfill::turn(bool busy) {
  if (box_ == nullptr) return {};
  if (stale_ || clock_.now() >= next_look_) TRY(reload());
  for (size_t i = 0; i < readers_.size(); ++i) {
    TRY(start_prepared(*readers_[i]));
    if (readers_[i]->failure()) {
      TRY(stop_failed(*readers_[i]));
      stale_ = true;
    }
  }
  if (stale_) return {};
  if (busy && clock_.now() < next_chunk_) return {};
  JobReader* const reader = next_with_chunk();
  return reader == nullptr ? Status() : write(*reader);
}

Status Backfill::start_prepared(JobReader& reader) {
  const auto prepared = reader.take_prepared();
  if (!prepared) return {};
  MILLRACE_FAILPOINT(backfill_start);
  auto started = box_->start_job(*prepared);
  if (started) {
    logging::info(
        "copying",
        {{"table", prepared->table}, {"job", prepared->id}, {"floor", to_string(prepared->floor)}});
    if (CopyJob* job = find(prepared->id)) {
      *job = *prepared;
      job->state = JobState::running;
    }
    reader.go();
    return {};
  }
  if (started.error().code() != ErrorCode::negative) return started;
  stale_ = true;  // somebody has paused or cancelled it
  return {};
}

Status Backfill::stop_failed(JobReader& reader) {
  const Error error = *reader.failure();
  return hold(reader.job(), error);
}

// What needs a hand pauses its job, and the stream goes on.
Status Backfill::hold(int64_t id, const Error& error) {
  const CopyJob* job = find(id);
  const std::string table = job != nullptr ? job->table : std::string();
  drop(id);
  stale_ = true;
  logging::error("a copy is paused", {{"table", table},
                                      {"error", error.describe()},
                                      {"go_on_with", "millrace backfill resume --table " + table}});
  constexpr std::array kFrom{JobState::waiting, JobState::running};
  auto held = box_->set_state(id, kFrom, JobState::paused, error.describe());
  return !held && held.error().code() != ErrorCode::negative ? held : Status();
}

bool Backfill::chunk_waits() {
  return std::any_of(readers_.begin(), readers_.end(),
                     [](const auto& reader) { return reader->front() != nullptr; });
}

JobReader* Backfill::next_with_chunk() {
  for (size_t i = 0; i < readers_.size(); ++i) {
    JobReader* const reader = readers_[(turn_of_ + i) % readers_.size()].get();
    if (reader->front() == nullptr) continue;
    turn_of_ = (turn_of_ + i + 1) % readers_.size();
    return reader;
  }
  return nullptr;
}

// Beyond what every snapshot of the job saw, also those that completed partial updates for it.
Result<Lsn> Backfill::end_of_wal() {
  if (!marks_) marks_ = options_.source(stop_);
  const auto mark = marks_->mark();
  if (mark) return mark->lsn;
  // It has read the whole table with this config: what is wrong was changed over there.
  Error error = mark.error();
  if (error.code() != ErrorCode::config) return fail(std::move(error));
  return fail(std::move(error).with_code(ErrorCode::retryable));
}

Status Backfill::write(JobReader& reader) {
  sink::Chunk& chunk = *reader.front();
  const uint64_t shape = chunk.table->fingerprint;
  if (std::find(adapted_.begin(), adapted_.end(), shape) == adapted_.end()) {
    auto adapted = target_->adapt({&chunk.table, 1});
    if (!adapted && adapted.error().code() == ErrorCode::bad_data) {
      return hold(reader.job(), adapted.error());
    }
    TRY(std::move(adapted));
    adapted_.push_back(shape);
  }
  if (chunk.last) {
    TRY_ASSIGN(chunk.seen_until, end_of_wal());
  }
  MILLRACE_FAILPOINT(backfill_write);
  const SteadyTime began = clock_.now();
  chunk.park = park_;
  auto written = box_->write_chunk(chunk);
  const auto took = clock_.now() - began;
  next_chunk_ = clock_.now() + took;
  if (!written) {
    if (park_ != nullptr) park_->undone();
    Error error = std::move(written).error();
    if (error.code() == ErrorCode::negative && chunk.binary) {
      // The same rows are read again, as text, which every way of writing takes.
      text_only_.insert(chunk.job);
      drop(reader.job());
      stale_ = true;
      return {};
    }
    if (error.code() != ErrorCode::bad_data && error.code() != ErrorCode::negative) {
      return fail(std::move(error));
    }
    return hold(reader.job(), error);
  }
  MILLRACE_FAILPOINT(backfill_written);
  if (!*written) {  // stopped, or sent back to its beginning
    drop(reader.job());
    stale_ = true;
    return {};
  }
  moved_at_ = clock_.now();
  count(chunk.rows);
  if (CopyJob* job = find(chunk.job)) {
    job->rows_done += chunk.rows;
    if (chunk.last_key) job->done_to = chunk.last_key;
  }
  if (!chunk.last) {
    if (box_->takes_binary()) reader.allow_binary();
    reader.pop(std::chrono::duration<double>(took).count());
    return {};
  }
  if (const CopyJob* job = find(chunk.job)) {
    logging::info("copied", {{"table", job->table},
                             {"job", job->id},
                             {"rows", job->rows_done},
                             {"consistent_at", to_string(chunk.seen_until)}});
  }
  drop(reader.job());
  return reload();
}

bool Backfill::open() const {
  return std::any_of(jobs_.begin(), jobs_.end(), [](const CopyJob& job) { return job.open(); });
}

bool Backfill::running() const { return std::any_of(jobs_.begin(), jobs_.end(), goes_on); }

bool Backfill::moves() const { return running() && clock_.now() < moved_at_ + kMoves; }

bool Backfill::settled(Lsn applied) const {
  if (box_ == nullptr) return true;
  return !stale_ && std::all_of(jobs_.begin(), jobs_.end(), [applied](const CopyJob& job) {
    return !job.open() && (job.state != JobState::done || job.consistent_at <= applied);
  });
}

}  // namespace millrace::chunk
