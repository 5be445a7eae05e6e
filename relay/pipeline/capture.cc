#include "relay/pipeline/capture.h"

#include <memory>
#include <utility>

#include "relay/base/logging.h"
#include "relay/pipeline/capture_assembly.h"
#include "relay/pipeline/stage.h"
#include "relay/source/replication.h"

namespace millrace::pipeline {
namespace {

constexpr Millis kSlotRetry{200};

}  // namespace

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
  pace_ = source::CatchUpPace(options_.pace);
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
  bool told = false;
  while (true) {
    auto started = replication.start(Lsn{});
    if (started || !replication.slot_is_busy()) return started;
    if (clock_.now() >= deadline) {
      return fail(std::move(started)
                      .error()
                      .with_code(ErrorCode::refused)
                      .with_hint("stop the other instance, or end its connection with `select "
                                 "pg_terminate_backend(active_pid) from pg_replication_slots "
                                 "where slot_name = '" +
                                 options_.source.slot + "'`"));
    }
    if (!std::exchange(told, true)) {
      logging::warn("capture waits for the slot", {{"error", started.error().describe()},
                                                   {"at_most_ms", options_.slot_wait.count()}});
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
  assembly_ = std::make_unique<Assembly>(*publisher_, board_, pace_, options_, timeline);
  return {};
}

}  // namespace millrace::pipeline
