#include "relay/pipeline/apply.h"

#include <algorithm>
#include <utility>

#include "relay/base/failpoint.h"
#include "relay/base/logging.h"
#include "relay/base/mutation.h"
#include "relay/pipeline/letter_codec.h"
#include "relay/pipeline/stage.h"
#include "relay/sink/apply_batch.h"
#include "relay/wire/control_codec.h"

namespace millrace::pipeline {
namespace {

constexpr Millis kFollowWait{100};
constexpr Millis kChunkWait{5};  // how long a chunk may wait for an idle stream
constexpr Millis kParkedEvery{2000};
constexpr Millis kTellEvery{5000};  // a hot key parks with every transaction
constexpr Millis kApplierRetry{200};
constexpr size_t kManifestsInOneTransaction = 1000;
constexpr uint64_t kFewRows = 64;  // sharing a transaction saves them little

Error gap(const Watermark& applied, const Manifest& manifest, LogOffset offset) {
  return Error(ErrorCode::refused,
               "the target has applied up to " + to_string(applied) + ", but manifest offset " +
                   std::to_string(offset) + " continues from " + to_string(manifest.previous) +
                   ": what lies between is gone from the log",
               "start again from a fresh copy with `millrace teardown` and `millrace setup`");
}

}  // namespace

Apply::Apply(log::Log& log, sink::Target& target, const Clock& clock, ApplyOptions options,
             Shared& shared, StatusBoard& board)
    : log_(log),
      target_(target),
      clock_(clock),
      options_(std::move(options)),
      shared_(shared),
      board_(board) {
  // Rows that are parked already keep their keys, whatever is to happen to further ones.
  if (sink::LetterBox* letters = target_.letters()) {
    parking_.emplace(*letters, sink::ParkingOptions{options_.park, options_.parked_max},
                     letter_codec(stamp_));
  }
}

void Apply::interrupt() {
  target_.interrupt();
  interrupt_reader();
}

void Apply::interrupt_reader() {
  const std::lock_guard lock(reader_mutex_);
  if (reader_) reader_->interrupt();
}

Status Apply::run(std::stop_token stop) {
  const StageOptions stage{"apply", options_.exit_on_stop, options_.stopped_retry, &clock_};
  return run_stage(stage, board_, backoff_, stop, [&] {
    while (true) {
      rows_do_not_fit_ = false;
      auto done = attempt(stop);
      const bool copies = options_.backfill != nullptr && options_.backfill->running();
      if (options_.backfill != nullptr) options_.backfill->detach();
      if (done) return done;
      target_.rollback();
      if (done.error().code() != ErrorCode::bad_data) return done;
      if (narrow()) continue;
      copies_first_ = rows_do_not_fit_ && copies;
      if (!copies_first_ || !options_.exit_on_stop) return done;
    }
  });
}

Status Apply::attempt(std::stop_token stop) {
  // Whatever waits for the log ends at once; a statement in the target gets the supervisor's grace.
  const std::stop_callback wake(stop, [this] { interrupt_reader(); });
  // A second instance by mistake must not take the target from the first before it is refused.
  while (options_.after_capture && !shared_.capturing()) {
    if (!clock_.sleep_for(stop, kFollowWait / 5)) return fail(ErrorCode::cancelled, "stopped");
  }
  TRY(take_target(stop));
  TRY(locate(stop));
  TRY(begin_backfill(stop));
  if (std::exchange(copies_first_, false)) TRY(copy_while_stopped(stop));
  TRY(copy_first(stop));
  while (!stop.stop_requested()) {
    if (goal_reached()) return {};
    TRY(follow());
    TRY(give_turn(!pending_.empty()));
    if (pending_.empty()) {
      // An operator may have freed some while nothing else happens.
      if (parking_ && parking_->any() && clock_.now() >= parked_looked_at_ + kParkedEvery) {
        TRY(load_parked());
      }
      continue;
    }
    if (auto applied = apply_pending(); !applied) {
      rows_do_not_fit_ = applied.error().code() == ErrorCode::bad_data;
      return applied;
    }
    if (board_.running("apply")) logging::info("apply goes on");
    backoff_.reset();
  }
  return {};
}

bool Apply::goal_reached() const {
  const Lsn applied = applied_.watermark.end_lsn;
  return options_.goal && applied >= *options_.goal &&
         (options_.backfill == nullptr || options_.backfill->settled(applied)) &&
         (!options_.may_end || options_.may_end());
}

Millis Apply::idle_wait() const {
  if (options_.backfill == nullptr || !options_.backfill->open()) return kFollowWait;
  return options_.backfill->chunk_waits() ? Millis(0) : kChunkWait;
}

// Another instance may be one that was killed, and whose session the target has not noticed to be
// dead: it is waited for a little. One that has applied since we last looked is our successor.
Status Apply::take_target(std::stop_token stop) {
  const auto deadline = clock_.now() + options_.applier_wait;
  bool told = false;
  while (true) {
    auto locked = target_.lock_applier();
    if (locked || locked.error().code() != ErrorCode::refused) return locked;
    TRY_ASSIGN(const auto found, target_.applied());
    TRY(check_not_overtaken(found));
    if (clock_.now() >= deadline) return locked;
    if (!std::exchange(told, true)) {
      logging::warn("apply waits for its turn", {{"error", locked.error().describe()},
                                                 {"at_most_ms", options_.applier_wait.count()}});
    }
    board_.failing("apply", HealthState::blocked, locked.error().describe());
    if (!clock_.sleep_for(stop, kApplierRetry)) return fail(ErrorCode::cancelled, "stopped");
  }
}

// A target that went back (restored, failed over) is caught up with; one that went on without us
// has another applier.
Status Apply::check_not_overtaken(const std::optional<sink::Applied>& found) const {
  if (own_reach_.end_lsn == Lsn{} || !found || found->watermark.end_lsn <= own_reach_.end_lsn)
    return {};
  return fail(ErrorCode::refused,
              "another instance applied up to " + to_string(found->watermark) + " (manifest " +
                  std::to_string(found->manifest_offset) + "), this one had come to " +
                  to_string(own_reach_),
              "stop the other instance of this pipeline");
}

Status Apply::locate(std::stop_token stop) {
  pending_.clear();
  pending_rows_ = 0;
  claims_ = ClaimTracker();
  TRY_ASSIGN(auto applied, target_.applied());
  TRY(check_not_overtaken(applied));
  TRY(load_parked());
  TRY_ASSIGN(std::shared_ptr<log::Reader> reader, log_.reader());
  {
    const std::lock_guard lock(reader_mutex_);
    reader_ = std::move(reader);
  }
  if (!applied) return locate_origin(stop);
  applied_ = *applied;
  reach_ = own_reach_ = applied_.watermark;
  shared_.set_applied(applied_.watermark);
  board_.applied(applied_.watermark);
  TRY_ASSIGN(const auto bounds, reader_->control_bounds());
  const LogOffset at = applied_.manifest_offset;
  if (at >= bounds.start && at < bounds.end) {
    TRY_ASSIGN(const auto entry, reader_->control_at(at));
    auto record = wire::decode_control(entry.value);
    const auto* manifest = record ? std::get_if<Manifest>(&*record) : nullptr;
    // Beyond its end, where transactions of the next group were applied one by one.
    if (manifest && manifest->token == applied_.token &&
        manifest->last.end_lsn <= applied_.watermark.end_lsn) {
      claims_.trust(applied_.token);
      return reader_->seek_control(at + 1);
    }
    logging::warn("the log is not the one that was applied last; reading it from its start",
                  {{"manifest_offset", at}});
  }
  // Another log, or one whose head is gone: every manifest that the target contains is passed over.
  return reader_->seek_control(bounds.start);
}

Status Apply::locate_origin(std::stop_token stop) {
  bool started = false;
  while (!stop.stop_requested()) {
    TRY_ASSIGN(const auto bounds, reader_->control_bounds());
    if (!started && bounds.end > bounds.start) {
      TRY(reader_->seek_control(bounds.start));
      started = true;
    }
    if (!started) {
      if (!clock_.sleep_for(stop, kFollowWait)) break;
      continue;
    }
    TRY_ASSIGN(auto entry, reader_->next_control(kFollowWait));
    if (!entry) continue;
    TRY_ASSIGN(auto record, wire::decode_control(entry->value));
    if (std::get_if<Claim>(&record)) claims_.on_claim(entry->offset);
    auto* manifest = std::get_if<Manifest>(&record);
    if (!manifest || !claims_.valid(*manifest)) continue;
    if (!manifest->origin) {
      return fail(
          ErrorCode::refused,
          "the target has applied nothing, and the log does not reach back to the beginning "
          "of this stream (its first manifest continues from " +
              to_string(manifest->previous) + ")",
          "start again from a fresh copy with `millrace teardown` and `millrace setup`");
    }
    sink::Applied origin{manifest->last,  manifest->epoch, manifest->system_identifier,
                         manifest->token, entry->offset,   TimeMicros{}};
    TRY(target_.set_origin(origin));
    applied_ = origin;
    reach_ = own_reach_ = origin.watermark;
    shared_.set_applied(applied_.watermark);
    board_.applied(applied_.watermark);
    return {};
  }
  return fail(ErrorCode::cancelled, "stopped");
}

Status Apply::follow() {
  Millis wait = idle_wait();
  const bool alone = applied_.watermark.end_lsn < alone_until_;
  const size_t most = alone ? 1 : kManifestsInOneTransaction;
  while (pending_rows_ < options_.group_rows && pending_.size() < most) {
    TRY_ASSIGN(auto entry, reader_->next_control(wait));
    if (!entry) return {};
    auto record = wire::decode_control(entry->value);
    if (!record) {
      return fail(std::move(record).error().at("manifest offset " + std::to_string(entry->offset)));
    }
    if (std::get_if<Claim>(&*record)) claims_.on_claim(entry->offset);
    if (auto* manifest = std::get_if<Manifest>(&*record)) {
      TRY(take_manifest(entry->offset, std::move(*manifest)));
    }
    if (!pending_.empty()) {
      wait = std::max(Millis(0), std::chrono::ceil<Millis>(shares_until() - clock_.now()));
    }
  }
  return {};
}

// Many rows are a busy stream's: more come soon, and share what a transaction costs. A few are
// wanted soon: they wait no longer than the last transaction took, so that the target and this
// process rest half of the time at least.
SteadyTime Apply::shares_until() const {
  const SteadyTime::duration most = options_.group_wait;
  return last_commit_ + (pending_rows_ < kFewRows ? std::min(most, last_took_) : most);
}

Status Apply::take_manifest(LogOffset offset, Manifest manifest) {
  if (!claims_.valid(manifest) && !mutated("no_manifest_check")) return {};
  if (manifest.system_identifier != applied_.system_identifier ||
      manifest.last.timeline != reach_.timeline) {
    return fail(ErrorCode::refused,
                "manifest offset " + std::to_string(offset) + " comes from another source (" +
                    manifest.system_identifier + ", timeline " +
                    std::to_string(manifest.last.timeline) + ") than the target (" +
                    applied_.system_identifier + ", timeline " + std::to_string(reach_.timeline) +
                    ")",
                "start again from a fresh copy with `millrace teardown` and `millrace setup`");
  }
  if (manifest.last.end_lsn <= reach_.end_lsn) return {};  // contained, or repeated
  if (manifest.previous.end_lsn > reach_.end_lsn) return fail(gap(reach_, manifest, offset));
  MILLRACE_FAILPOINT(apply_fetch);
  reach_ = manifest.last;
  pending_rows_ += manifest.rows;
  pending_.push_back({offset, std::move(manifest)});
  return {};
}

bool Apply::narrow() {
  if (pending_.empty()) return false;
  const Published& first = pending_.front();
  const bool several = pending_.size() > 1;
  if (!several && (first.manifest.transactions <= 1 || split_ == first.offset)) return false;
  alone_until_ = reach_.end_lsn;
  if (!several) split_ = first.offset;
  return true;
}

// One of the group's transactions does not fit: those before it are applied, each in a target
// transaction of its own. The watermark in between contains a commit record and nothing behind it;
// the manifest that the target names stays the one before.
Status Apply::apply_one_by_one() {
  const Manifest& manifest = pending_.front().manifest;
  TRY(load_shapes());
  GroupReader rows(*reader_, schemas_, manifest);
  TRY(rows.open());
  stamp_.token = manifest.token;
  stamp_.epoch = manifest.epoch;
  while (true) {
    TRY_ASSIGN(const auto commit, rows.next_transaction(applied_.watermark));
    if (!commit) return {};
    sink::Applied next = applied_;
    next.watermark.commit_lsn = *commit;
    next.watermark.end_lsn = Lsn{commit->value + 1};
    applied_rows_ = 0;
    applied_bytes_ = 0;
    TRY(begin_transaction(next));
    for (bool done = false; !done;) {
      batch_.clear();
      TRY_ASSIGN(done, rows.fill(batch_, applied_.watermark, options_.group_rows,
                                 options_.group_bytes, *commit));
      TRY(write_batch());
    }
    TRY(commit_transaction(next, 0));  // transactions are counted with their group
  }
}

Status Apply::apply_pending() {
  if (pending_.size() == 1 && pending_.front().offset == split_) TRY(apply_one_by_one());
  const Published& last = pending_.back();
  const SteadyTime began = clock_.now();
  sink::Applied next = applied_;
  next.watermark = last.manifest.last;
  next.epoch = last.manifest.epoch;
  next.token = last.manifest.token;
  next.manifest_offset = last.offset;
  TRY(write_pending(next));
  uint64_t transactions = 0;
  for (const Published& group : pending_) transactions += group.manifest.transactions;
  TRY(commit_transaction(next, transactions));
  last_took_ = last_commit_ - began;
  if (options_.on_applied) options_.on_applied(applied_, last.manifest);
  pending_.clear();
  pending_rows_ = 0;
  return {};
}

Status Apply::load_parked() {
  if (!parking_) return {};
  parked_looked_at_ = clock_.now();
  TRY(parking_->load());
  board_.parked(parking_->count());
  return {};
}

void Apply::tell_parked() {
  if (!parking_) return;
  board_.parked(parking_->count());
  const sink::Parking::News& news = parking_->news();
  for (const Error& error : news.errors) {
    board_.error(error);
    logging::warn("a row is parked", {{"error", error.describe()}});
  }
  untold_failed_ += news.failed;
  untold_behind_ += news.behind;
  if (untold_failed_ + untold_behind_ == 0 || clock_.now() < told_parked_at_ + kTellEvery) return;
  told_parked_at_ = clock_.now();
  logging::warn("rows are parked", {{"rejected", std::exchange(untold_failed_, 0)},
                                    {"behind_others", std::exchange(untold_behind_, 0)},
                                    {"parked_now", parking_->count()},
                                    {"look_at", "millrace letters list"}});
}

Status Apply::load_shapes() {
  std::vector<TableSchemaPtr> shapes;
  for (const Published& group : pending_) {
    TRY(schemas_.load(*reader_, group.manifest.schemas));
    for (const SchemaRef& ref : group.manifest.schemas) {
      shapes.push_back(schemas_.find(ref.fingerprint));
    }
  }
  return target_.adapt(shapes);
}

Status Apply::write_pending(const sink::Applied& next) {
  TRY(load_shapes());
  batch_.clear();
  applied_rows_ = 0;
  applied_bytes_ = 0;
  stamp_.token = next.token;
  stamp_.epoch = next.epoch;
  bool begun = false;
  // Rows are read before the transaction begins, so that it is short when one batch is enough.
  const auto write = [&]() -> Status {
    MILLRACE_FAILPOINT(apply_stage);
    if (!std::exchange(begun, true)) TRY(begin_transaction(next));
    return write_batch();
  };
  Watermark contained = applied_.watermark;  // groups may overlap what is applied, and each other
  for (const Published& group : pending_) {
    GroupReader rows(*reader_, schemas_, group.manifest);
    TRY(rows.open());
    while (true) {
      TRY_ASSIGN(const bool done,
                 rows.fill(batch_, contained, options_.group_rows, options_.group_bytes));
      if (done) break;
      TRY(write());
    }
    contained = group.manifest.last;
  }
  return write();
}

Status Apply::begin_transaction(const sink::Applied& next) {
  TRY(target_.begin(applied_, next));
  MILLRACE_FAILPOINT(apply_position);
  if (parking_) TRY(parking_->begun());
  return {};
}

Status Apply::write_batch() {
  applied_rows_ += batch_.size();
  applied_bytes_ += batch_.bytes();
  TRY(sink::apply_batch(target_, batch_.changes(), planner_, parking_ ? &*parking_ : nullptr));
  MILLRACE_FAILPOINT(apply_write);
  batch_.clear();
  return {};
}

Status Apply::commit_transaction(const sink::Applied& next, uint64_t transactions) {
  own_reach_ = next.watermark;
  MILLRACE_FAILPOINT(apply_commit);
  TRY(target_.commit());
  MILLRACE_FAILPOINT(apply_committed);
  last_commit_ = clock_.now();
  applied_ = next;
  shared_.set_applied(applied_.watermark);
  board_.applied(applied_.watermark);
  board_.count_applied(applied_rows_, transactions, applied_bytes_);
  tell_parked();
  return {};
}

}  // namespace millrace::pipeline
