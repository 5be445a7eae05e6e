// run_stage: tries a stage's work again for as long as its error may pass or be mended.
//
//   retryable  "blocked": again after a growing wait, for ever
//   bad_data   "stopped": again every few seconds, or the end with exit_on_stop
//   any other  the end
//
// Runs on the calling thread.
#pragma once

#include <functional>
#include <stop_token>
#include <string_view>

#include "relay/base/backoff.h"
#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/pipeline/status_board.h"

namespace millrace::pipeline {

struct StageOptions {
  std::string_view name;  // "capture": on the status board and in the log
  bool exit_on_stop = false;
  Millis stopped_retry{3000};
  const Clock* clock = &system_clock();  // borrowed
};

// Returns when the attempt succeeded or a stop was asked for (or the attempt says `cancelled`). The
// attempt resets `backoff` when it has got somewhere.
Status run_stage(const StageOptions& options, StatusBoard& board, Backoff& backoff,
                 const std::stop_token& stop, const std::function<Status()>& attempt);

}  // namespace millrace::pipeline
