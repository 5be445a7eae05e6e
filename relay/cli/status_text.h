// A StatusSnapshot as a few aligned lines for people.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "relay/pipeline/status.h"

namespace millrace::cli {

std::string status_text(const pipeline::StatusSnapshot& status);

// Messages hold what servers said: no control characters reach the terminal.
std::string printable(std::string text);
// A row's key as Postgres, and the errors of the target, have it: (a, b)=(1, x). Printable.
using NamedKey = std::vector<std::pair<std::string, std::string>>;
std::string key_text(const NamedKey& key);
// As a shell takes it: in quotes where it must be.
std::string shell_word(const std::string& text);
// The command that lets a paused copy go on.
std::string resume_command(const std::string& table);

std::string human_bytes(uint64_t bytes);    // "1.5 MB"
std::string human_seconds(double seconds);  // "0.25 s", "3 min 20 s", "2 h 5 min"

}  // namespace millrace::cli
