// Place: where in the stream an operator means: a position, an LSN or a time.
//
// Format: "1:0/16B3748" or "1:0/16B3748:7" (timeline, commit LSN, ordinal), "0/16B3748", or
// "2026-11-20T10:00:00Z" (RFC 3339 in UTC; seconds may have a fraction or be left out).
#pragma once

#include <string_view>
#include <variant>

#include "relay/base/ids.h"
#include "relay/base/result.h"

namespace millrace::cli {

using Place = std::variant<Lsn, TimeMicros>;

// Timelines and ordinals are read and left out: within one pipeline an LSN says as much to a
// reader. Errors: config.
Result<Place> parse_place(std::string_view text);

// Is a commit at `lsn` and `time` before `place`?
bool is_before(Lsn lsn, TimeMicros time, const Place& place);

}  // namespace millrace::cli
