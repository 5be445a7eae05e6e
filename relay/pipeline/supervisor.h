// supervise: runs capture and apply, each on a thread of its own, until one ends or a stop is asked
// for.
//
// The first error ends both: neither goes on publishing or applying beside a stage that was
// refused. A stop waits for the batch in hand for `stop_grace`, then ends its statement.
#pragma once

#include <optional>
#include <stop_token>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/log/log.h"
#include "relay/pipeline/apply.h"
#include "relay/pipeline/capture.h"
#include "relay/pipeline/monitor.h"
#include "relay/pipeline/shared.h"
#include "relay/pipeline/status_board.h"
#include "relay/sink/target.h"

namespace millrace::pipeline {

struct SupervisorOptions {
  std::optional<CaptureOptions> capture;
  std::optional<ApplyOptions> apply;  // needs a target
  std::optional<MonitorOptions> monitor;
  // Of the 5 s that a stop may take: a busy machine needs some for all that comes after.
  Millis stop_grace{2000};
};

// Returns when stopped or when every goal is reached. Errors: the first that ended a stage.
Status supervise(log::Log& log, sink::Target* target, const Clock& clock, SupervisorOptions options,
                 Shared& shared, StatusBoard& board, std::stop_token stop);

}  // namespace millrace::pipeline
