// A StatusSnapshot as JSON, and back: what the admin port serves and `millrace status` prints.
//
// Keys are stable, snake_case, units last; what is unknown is null. Times are RFC 3339 in UTC.
// Thread-safe: no state.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "relay/base/result.h"
#include "relay/pipeline/status.h"

namespace millrace::admin {

// One object; `indent` spaces a level, or one line for -1.
std::string status_to_json(const pipeline::StatusSnapshot& status, int indent = -1);

// Missing members stay at their defaults, unknown ones are skipped: the process that answers may be
// of another version. Errors: corruption, when it is no such object at all.
Result<pipeline::StatusSnapshot> status_from_json(std::string_view json);

// "2026-11-20T10:00:00Z", with up to six decimals of a second; nullopt for anything else.
std::optional<TimeMicros> parse_time(std::string_view text);

}  // namespace millrace::admin
