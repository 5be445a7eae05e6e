#include "relay/pipeline/setup_stream.h"

#include "relay/base/failpoint.h"
#include "relay/base/logging.h"
#include "relay/pipeline/source_guard.h"
#include "relay/source/catalog.h"
#include "relay/source/checks.h"
#include "relay/source/replication.h"

namespace millrace::pipeline {

Status refuse_if_remembered(const StreamSetup& setup, log::Log* log, std::stop_token stop) {
  const std::string hint = "slot " + setup.source.slot +
                           " was dropped, and with it what was committed since; start again from a "
                           "fresh copy: `millrace "
                           "teardown` and `millrace setup`";
  if (setup.applied) {
    return fail(ErrorCode::refused,
                "slot " + setup.source.slot + " does not exist, but the target has applied up to " +
                    to_string(*setup.applied),
                hint);
  }
  if (log == nullptr) return {};
  TRY_ASSIGN(const auto reader, log->reader());
  TRY_ASSIGN(const auto bounds, reader->control_bounds());
  TRY_ASSIGN(const auto last, last_published(*reader, {bounds.start, false}, bounds.end, stop));
  if (!last) return {};
  return fail(ErrorCode::refused,
              "slot " + setup.source.slot +
                  " does not exist, but the log holds this pipeline up to " +
                  to_string(last->manifest.last),
              hint);
}

namespace {

constexpr Millis kWait{20};
constexpr Millis kOriginTimeout{60'000};

Status publish_origin(Publisher& publisher, const Watermark& origin, const Clock& clock,
                      std::stop_token stop) {
  TRY_ASSIGN(const auto published, publisher.claim(std::nullopt));
  if (published) {
    return fail(ErrorCode::refused, "another instance began to publish this pipeline during set-up",
                "run one of them only");
  }
  TRY(publisher.begin_at(origin, true, true));
  const auto deadline = clock.now() + kOriginTimeout;
  while (publisher.in_flight()) {
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    if (clock.now() > deadline) {
      return fail(ErrorCode::retryable, "the log did not confirm the first manifest within 60 s");
    }
    TRY(publisher.tick(true, kWait));
  }
  return {};
}

}  // namespace

Result<bool> setup_stream(const StreamSetup& setup, log::Log& log, const Clock& clock,
                          std::stop_token stop) {
  source::Catalog catalog(setup.source);
  TRY(catalog.connect());
  TRY_ASSIGN(const auto slot, catalog.slot(setup.source.slot));
  if (slot) {
    TRY_ASSIGN(const auto facts, catalog.server());
    if (slot->is_lost()) return fail(slot_is_lost(*slot));
    for (auto& finding : source::check_slot(*slot, facts.database)) {
      if (finding.blocker) return fail(std::move(finding.error).with_code(ErrorCode::refused));
    }
    return false;
  }
  TRY(refuse_if_remembered(setup, &log, stop));

  source::Replication replication(setup.source);
  TRY(replication.connect());
  TRY_ASSIGN(const auto identity, replication.identify());
  TRY_ASSIGN(const Lsn consistent_point, replication.create_slot());
  MILLRACE_FAILPOINT(setup_slot);
  PublisherOptions options;
  options.pipeline = setup.pipeline;
  options.slot = setup.source.slot;
  options.publisher = setup.publisher;
  options.system_identifier = identity.system_identifier;
  options.timeline = identity.timeline;
  Publisher publisher(log, clock, options, stop);
  const Watermark origin{identity.timeline, consistent_point, Lsn{}, TimeMicros{}};
  TRY(publish_origin(publisher, origin, clock, stop));
  logging::info("stream begins", {{"slot", setup.source.slot}, {"from", to_string(origin)}});
  return true;
}

}  // namespace millrace::pipeline
