#include "relay/pipeline/stage.h"

#include <string>

#include "relay/base/logging.h"

namespace millrace::pipeline {

Status run_stage(const StageOptions& options, StatusBoard& board, Backoff& backoff,
                 const std::stop_token& stop, const std::function<Status()>& attempt) {
  while (!stop.stop_requested()) {
    auto done = attempt();
    if (done) return {};
    const Error& error = done.error();
    if (stop.stop_requested() || error.code() == ErrorCode::cancelled) return {};
    board.error(error);
    const bool passes = error.code() == ErrorCode::retryable;
    board.failing(options.name, passes ? HealthState::blocked : HealthState::stopped,
                  error.describe());
    const bool waits = error.code() == ErrorCode::bad_data && !options.exit_on_stop;
    if (!passes && !waits) return done;
    const Millis wait = passes ? backoff.next() : options.stopped_retry;
    if (passes) board.count_retry();
    logging::write(passes ? logging::Level::warn : logging::Level::error,
                   std::string(options.name) + (passes ? " tries again" : " is stopped"),
                   {{"error", error.describe()}, {"wait_ms", wait.count()}});
    options.clock->sleep_for(stop, wait);
  }
  return {};
}

}  // namespace millrace::pipeline
