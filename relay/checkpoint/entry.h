// Entry: how far one stage of a pipeline has come, and where in the log that is written.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "relay/base/ids.h"
#include "relay/event/manifest.h"

namespace millrace::checkpoint {

// Persisted in keys and values: never renumber.
enum class Kind : uint8_t { published = 1, acknowledged = 2, applied = 3 };

struct Entry {
  Kind kind = Kind::published;
  std::string pipeline;
  Watermark watermark;
  Token token;                     // of the manifest
  LogOffset manifest_offset = -1;  // -1: none yet
  uint32_t epoch = 1;
  std::string system_identifier;
  TimeMicros at;                    // of a history entry: the manifest's published_at
  std::vector<OffsetRange> ranges;  // history only; may stay empty, the manifest has them
  bool operator==(const Entry&) const = default;
};

// A place in the history: inside an epoch, LSNs are comparable across timelines.
struct Place {
  uint32_t epoch = 0;
  Lsn end_lsn;
  auto operator<=>(const Place&) const = default;
};

}  // namespace millrace::checkpoint
