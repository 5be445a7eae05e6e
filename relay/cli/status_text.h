// A StatusSnapshot as a few aligned lines for people.
#pragma once

#include <string>

#include "relay/pipeline/status.h"

namespace millrace::cli {

std::string status_text(const pipeline::StatusSnapshot& status);

// Messages hold what servers said: no control characters reach the terminal.
std::string printable(std::string text);

std::string human_bytes(uint64_t bytes);    // "1.5 MB"
std::string human_seconds(double seconds);  // "0.25 s", "3 min 20 s", "2 h 5 min"

}  // namespace millrace::cli
