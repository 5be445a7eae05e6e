// Where a stream goes on from: the one place that decides whether a slot, a log and a target belong
// together.
//
// Invariant: what the slot has forgotten is in the log or in the target. Where that can not be
// shown the answer is a refusal, with the command that resolves it. Pure functions; any thread.
#pragma once

#include <optional>
#include <string>

#include "relay/base/result.h"
#include "relay/event/manifest.h"

namespace millrace::pipeline {

struct StreamFacts {
  std::string pipeline;
  std::string slot;
  // The source as it is now.
  std::string system_identifier;
  uint32_t timeline = 0;
  // What the slot has forgotten: its confirmed_flush_lsn, read while we hold it.
  Lsn slot_confirmed;
  // The last valid manifest of the log.
  std::optional<Manifest> published;
  // The target's applied watermark. `target_known` false: this process has no target to ask.
  bool target_known = false;
  std::optional<Watermark> applied;
};

struct ResumePoint {
  Watermark watermark;
  bool announce = false;  // publish an empty manifest at the watermark first
  bool origin = false;    // … as the origin of the stream
};

// Errors: refused.
Result<ResumePoint> decide_resume(const StreamFacts& facts);

}  // namespace millrace::pipeline
