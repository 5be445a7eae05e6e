// The part of set-up that begins a stream: the slot, and the manifest that says where the stream
// starts.
//
// Everything before (publication, topics, target metadata) is idempotent; this step is done once. A
// slot that is gone while the log or the target remembers a stream is a refusal, never a new slot:
// what was committed in between would be lost without a word.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/log/log.h"
#include "relay/pipeline/publisher.h"
#include "relay/source/options.h"

namespace millrace::pipeline {

struct StreamSetup {
  source::Options source;
  std::string pipeline;
  std::string publisher;             // who we are, for people
  std::optional<Watermark> applied;  // of the target, where it is known
};

// Creates the slot and publishes the origin manifest, when the slot does not exist yet. Returns
// true when it was created. Errors: refused (see above), retryable, config (privileges).
Result<bool> setup_stream(const StreamSetup& setup, log::Log& log, const Clock& clock,
                          std::stop_token stop);

// For a slot that does not exist: refused when the target or the log (null: there is none) has a
// part of its stream already.
Status refuse_if_remembered(const StreamSetup& setup, log::Log* log, std::stop_token stop);

}  // namespace millrace::pipeline
