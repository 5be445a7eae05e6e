// What `millrace backfill` reads and prints: keys, jobs, plans. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "relay/base/ids.h"
#include "relay/base/result.h"
#include "relay/pipeline/status.h"
#include "relay/sink/history.h"

namespace millrace::cli {

// A key: a JSON array of strings and numbers, or one value as it is. Errors: config.
Result<sink::KeyText> parse_key(std::string_view text);

// What the process that applies says of its copies; nullopt: none answers here.
using LiveCopies = std::optional<pipeline::BackfillStatus>;

// States and reasons are worded as in the status, where the process knows more than the target.
std::string jobs_text(std::span<const sink::CopyJob> jobs, Lsn applied, const LiveCopies& live);
std::string jobs_json(std::span<const sink::CopyJob> jobs, Lsn applied, const LiveCopies& live);

struct PlannedCopy {
  int64_t job = 0;  // 0: not added
  std::string table;
  std::optional<uint64_t> rows;
};
std::string planned_text(std::span<const PlannedCopy> copies, bool json);

}  // namespace millrace::cli
