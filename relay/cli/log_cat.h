// LogCat: the published rows of a log as JSON lines, in source order, and what the log holds.
//
// Shows what an applier would see: rows that a valid manifest names, and no others. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "relay/base/result.h"
#include "relay/cli/place.h"
#include "relay/log/log.h"

namespace millrace::cli {

struct LogCatOptions {
  std::optional<Place> from;
  std::optional<Place> to;
  std::string topic;     // of rows; empty: every one
  uint64_t limit = 0;    // lines, the first so many; 0: all
  bool follow = false;   // wait for more, until stopped
  bool control = false;  // claims, schemas and manifests instead of rows, void ones too
};

// Each line goes to `print`, without its end; false ends the reading.
using PrintLine = std::function<bool(const std::string& line)>;

// Errors: those of the log; corruption.
Status log_cat(log::Log& log, const LogCatOptions& options, std::stop_token stop,
               const PrintLine& print);

// One JSON object: where the log is, what its manifest topic holds, and where the stream stands.
Result<std::string> log_describe(log::Log& log, std::stop_token stop);

}  // namespace millrace::cli
