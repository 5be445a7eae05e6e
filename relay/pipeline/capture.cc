#include "relay/pipeline/capture.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "relay/base/failpoint.h"
#include "relay/base/logging.h"
#include "relay/pipeline/stage.h"
#include "relay/source/replication.h"

namespace millrace::pipeline {
namespace {

constexpr int kFramesBetweenTicks = 512;
constexpr Millis kIdleWait{100};
constexpr Millis kInFlightWait{1};
constexpr Millis kSlotRetry{200};
constexpr Millis kFinishTimeout{2000};
constexpr Millis kKeepaliveEvery{20};
constexpr Millis kHaltedWait{5000};

}  // namespace

// Hands whole transactions to the publisher, without those that the log already holds.
class Capture::Assembly final : public decode::Handler {
 public:
  Assembly(Publisher& publisher, StatusBoard& board, const CaptureOptions& options,
           uint32_t timeline)
      : publisher_(publisher), board_(board), options_(options), timeline_(timeline) {}

  Status on_begin(const decode::Begin& begin) override {
    contained_ = publisher_.head().contains(begin.commit_lsn);
    commit_time_ = begin.commit_time;
    rows_ = 0;
    return {};
  }

  Status on_change(const Change& change, const TableSchemaPtr& table) override {
    if (contained_ || !is_ours(table)) return {};
    ++rows_;
    return publisher_.row(change, table, commit_time_);
  }

  Status on_commit(const decode::Commit& commit) override {
    const Watermark last{timeline_, commit.end_lsn, commit.commit_lsn, commit.commit_time};
    board_.received(last);
    if (contained_) return {};
    if (rows_ > 0) return publisher_.commit(last);
    return {};  // a keepalive moves the watermark past it
  }

  Status on_message(const decode::LogicalMessage&) override { return {}; }

 private:
  bool is_ours(const TableSchemaPtr& table) {
    if (table == last_table_) return last_is_ours_;
    last_table_ = table;
    last_is_ours_ = options_.is_ours(*table);
    if (!last_is_ours_ && foreign_.insert(display_name(*table)).second) {
      logging::warn(
          "the publication holds a table that the config does not name; its changes are left out",
          {{"table", display_name(*table)}});
    }
    return last_is_ours_;
  }

  Publisher& publisher_;
  StatusBoard& board_;
  const CaptureOptions& options_;
  uint32_t timeline_;
  bool contained_ = false;
  TimeMicros commit_time_;
  uint64_t rows_ = 0;
  TableSchemaPtr last_table_;
  bool last_is_ours_ = false;
  std::set<std::string> foreign_;
};

Capture::Capture(log::Log& log, const Clock& clock, CaptureOptions options, Shared& shared,
                 StatusBoard& board)
    : log_(log), clock_(clock), options_(std::move(options)), shared_(shared), board_(board) {}

Capture::~Capture() = default;

Status Capture::run(std::stop_token stop) {
  const StageOptions stage{"capture", options_.exit_on_stop, options_.stopped_retry, &clock_};
  options_.source.stop = stop;
  if (!options_.slots) options_.slots = source::postgres_slots(options_.source);
  return run_stage(stage, board_, backoff_, stop, [&]() -> Status {
    auto done = attempt(stop);
    if (done || !begun_ || done.error().code() != ErrorCode::config) return done;
    // It has worked with this config: what is wrong (a password, a right) was changed over there.
    return fail(std::move(done).error().with_code(ErrorCode::retryable));
  });
}

Status Capture::attempt(std::stop_token stop) {
  publisher_.reset();
  assembly_.reset();
  decoder_.reset();
  open_transactions_.reset();
  acknowledged_ = Lsn{};
  idle_end_ = Lsn{};
  const auto connection = options_.slots->stream();
  source::SlotStream& replication = *connection;
  TRY_ASSIGN(const ResumePoint from, take_slot(replication, stop));
  TRY(publisher_->begin_at(from.watermark, from.announce, from.origin));
  logging::info("capture begins", {{"slot", options_.source.slot},
                                   {"from", to_string(from.watermark)},
                                   {"token", publisher_->token().value},
                                   {"log", log_.describe()}});
  begun_ = true;
  shared_.set_capturing();
  board_.running("capture");
  backoff_.reset();
  auto done = stream(replication, stop);
  if (done) finish(replication);
  return done;
}

// START_REPLICATION takes the slot. While another process holds it we wait a little: a predecessor
// that was killed keeps it until its connection is noticed to be dead.
Status Capture::start_slot(source::SlotStream& replication, std::stop_token stop) {
  const auto deadline = clock_.now() + options_.slot_wait;
  while (true) {
    auto started = replication.start(Lsn{});
    if (started || !replication.slot_is_busy()) return started;
    if (clock_.now() >= deadline) {
      return fail(std::move(started)
                      .error()
                      .with_code(ErrorCode::refused)
                      .with_hint("stop the other instance, or end its connection with "
                                 "`select pg_terminate_backend(active_pid) from "
                                 "pg_replication_slots`"));
    }
    board_.failing("capture", HealthState::blocked, started.error().describe());
    if (!clock_.sleep_for(stop, kSlotRetry)) return fail(ErrorCode::cancelled, "stopped");
  }
}

Result<ResumePoint> Capture::take_slot(source::SlotStream& replication, std::stop_token stop) {
  StreamFacts facts;
  facts.pipeline = options_.publisher.pipeline;
  facts.slot = options_.source.slot;
  TRY(replication.connect());
  TRY_ASSIGN(const auto identity, replication.identify());
  facts.system_identifier = identity.system_identifier;
  facts.timeline = identity.timeline;
  const auto catalog = options_.slots->catalog();
  TRY(catalog->connect());
  TRY_ASSIGN(const auto before, catalog->slot(facts.slot));
  if (!before) {
    return fail(ErrorCode::refused, "slot " + facts.slot + " does not exist on the source",
                "a new stream: `millrace setup`; a stream whose slot was dropped has lost changes: "
                "`millrace teardown`, then `millrace setup` on a fresh copy");
  }
  if (before->is_lost()) return fail(slot_is_lost(*before));
  if (shared_.halt() && !options_.retained.exceeded_by(*before)) shared_.set_halt(std::nullopt);
  // While halted the slot is taken once for each place that it stands at: see let_slot_catch_up.
  const bool halted =
      shared_.halt().has_value() && !may_acknowledge_more(before->confirmed_flush_lsn);
  if (halted && halted_at_ == before->confirmed_flush_lsn) {
    return fail(too_much_retained(*before, options_.retained));
  }
  TRY(start_slot(replication, stop));
  if (halted) TRY(let_slot_catch_up(*catalog, stop));
  // Nobody but us moves it from here on.
  TRY_ASSIGN(const auto slot, catalog->slot(facts.slot));
  if (!slot) return fail(ErrorCode::retryable, "slot " + facts.slot + " vanished");
  facts.slot_confirmed = slot->confirmed_flush_lsn;

  PublisherOptions publisher = options_.publisher;
  publisher.slot = facts.slot;
  publisher.system_identifier = facts.system_identifier;
  publisher.timeline = facts.timeline;
  publisher.on_published = [this](const Published& group) { note_published(group); };
  publisher_ = std::make_unique<Publisher>(log_, clock_, publisher, stop);
  TRY_ASSIGN(auto published, publisher_->claim(options_.manifest_hint));
  if (published) facts.published = std::move(published->manifest);

  // The applier tells what the target has, where it is needed to decide.
  facts.target_known = options_.target_known;
  facts.applied = shared_.applied();

  TRY(make_decoder(facts.timeline, stop));
  last_progress_ = clock_.now();
  last_published_at_ = clock_.now();
  return decide_resume(facts);
}

Status Capture::make_decoder(uint32_t timeline, std::stop_token stop) {
  decode::Decoder::Options decoder;
  decoder.timeline = timeline;
  const std::shared_ptr<source::SlotCatalog> keys = options_.slots->catalog();
  decoder.primary_key = [keys](const std::string& schema,
                               const std::string& table) -> Result<std::vector<std::string>> {
    return keys->primary_key(schema, table);
  };
  if (options_.source.streaming) {
    // A transaction of any size is replayed in one go: the log gets its turns meanwhile.
    TRY_ASSIGN(open_transactions_,
               SpilledTransactions::open(options_.spill_folder, [this, stop]() -> Status {
                 if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
                 return publisher_->tick(false, Millis(0));
               }));
    decoder.open_transactions = open_transactions_.get();
  }
  decoder_ = std::make_unique<decode::Decoder>(std::move(decoder));
  assembly_ = std::make_unique<Assembly>(*publisher_, board_, options_, timeline);
  return {};
}

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

Status Capture::handle_frame(const source::Frame& frame) {
  MILLRACE_FAILPOINT(capture_receive);
  board_.source_end(frame.server_wal_end);
  if (frame.kind == source::Frame::Kind::data) return decoder_->decode(frame.payload, *assembly_);
  // Every commit before this place has been received, and is in the publisher's hands. What is open
  // and streamed commits behind it; the slot keeps the WAL that it needs, whatever we confirm.
  if (!decoder_->in_transaction()) idle_end_ = std::max(idle_end_, frame.server_wal_end);
  return {};
}

// The source has nothing of ours before idle_end_: an empty manifest says so, so that an idle slot
// lets go of WAL that others write, and the target knows that it is up to date.
Status Capture::make_progress() {
  if (decoder_->in_transaction() || publisher_->in_transaction()) return {};
  Watermark next = publisher_->head();
  if (idle_end_ <= next.end_lsn) return {};
  const bool wanted = options_.goal && next.end_lsn < *options_.goal && idle_end_ >= *options_.goal;
  if (!wanted && clock_.now() - last_progress_ < options_.progress_interval) return {};
  last_progress_ = clock_.now();
  next.end_lsn = idle_end_;
  return publisher_->progress(next);
}

Status Capture::stream(source::SlotStream& replication, std::stop_token stop) {
  while (!stop.stop_requested()) {
    if (const auto why = shared_.halt()) TRY(wind_down(replication, stop, *why));
    bool idle = false;
    for (int i = 0; i < kFramesBetweenTicks && !idle; ++i) {
      TRY_ASSIGN(const auto frame, replication.next(Millis(0)));
      if (frame) {
        TRY(handle_frame(*frame));
      } else {
        idle = true;
      }
    }
    TRY(make_progress());
    TRY(publisher_->tick(idle, idle ? kInFlightWait : Millis(0)));
    acknowledge(replication);
    if (options_.end_at_goal && published_goal()) return {};
    if (!idle || publisher_->in_flight()) continue;
    TRY(repeat_when_quiet());
    Millis wait = kIdleWait;
    if (options_.goal && publisher_->head().end_lsn < *options_.goal) {
      wait = kKeepaliveEvery;
      if (clock_.now() - last_keepalive_request_ >= kKeepaliveEvery) {
        replication.request_keepalive();
        last_keepalive_request_ = clock_.now();
      }
    }
    TRY_ASSIGN(const auto frame, replication.next(wait));
    if (frame) TRY(handle_frame(*frame));
  }
  return {};
}

// Retention must never empty the manifest topic: the last manifest is what a restart goes on from.
Status Capture::repeat_when_quiet() {
  if (clock_.now() - last_published_at_ < options_.repeat_interval) return {};
  if (publisher_->in_transaction()) return {};
  last_published_at_ = clock_.now();
  return publisher_->progress(publisher_->head());
}

bool Capture::published_goal() const {
  const auto& last = publisher_->acknowledgeable();
  return options_.goal && last && last->manifest.last.end_lsn >= *options_.goal;
}

void Capture::note_published(const Published& group) {
  options_.manifest_hint = ManifestHint{group.offset, group.manifest.token};
  board_.published(group.manifest.last);
  board_.count_published(group.manifest.rows, group.manifest.transactions);
  last_published_at_ = clock_.now();
  if (options_.on_published) options_.on_published(group);
}

void Capture::acknowledge(source::SlotStream& replication) {
  const auto& last = publisher_->acknowledgeable();
  if (!last) return;
  Watermark durable = last->manifest.last;
  if (options_.acknowledge_applied) {
    const auto applied = shared_.applied();
    if (!applied) return;
    if (applied->end_lsn < durable.end_lsn) durable = *applied;
  }
  if (durable.end_lsn <= acknowledged_) return;
  acknowledged_ = durable.end_lsn;
  MILLRACE_FAILPOINT_HERE(capture_acknowledge);
  replication.set_flushed(durable.end_lsn);
  board_.acknowledged(durable);
  if (options_.on_acknowledged) options_.on_acknowledged(durable, *last);
}

// A clean stop: what is on its way gets a moment to become durable, so that less comes again.
void Capture::finish(source::SlotStream& replication) {
  const auto deadline = clock_.now() + kFinishTimeout;
  while (publisher_->in_flight() && clock_.now() < deadline) {
    if (auto ticked = publisher_->tick(true, Millis(20)); !ticked) break;
  }
  acknowledge(replication);
  replication.stop();
}

}  // namespace millrace::pipeline
