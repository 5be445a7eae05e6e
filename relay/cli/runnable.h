// The commands that our texts name, as they can be copied into a shell.
#pragma once

#include <string>

namespace millrace::cli {

inline constexpr const char* kConfigHere = "millrace.yaml";

// `text` with " -c FILE" in every command of ours that it names in backticks ("`millrace setup`"),
// but for those that read no config, or name one. Unchanged where a command finds the file by
// itself: $MILLRACE_CONFIG, and millrace.yaml here.
std::string runnable(const std::string& text, const std::string& config_file);

}  // namespace millrace::cli
