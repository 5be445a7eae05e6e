#include "relay/cli/runnable.h"

#include <cstdlib>
#include <string_view>

#include "relay/cli/status_text.h"

namespace millrace::cli {

std::string runnable(const std::string& text, const std::string& config_file) {
  constexpr std::string_view kBegin = "`millrace ";
  const char* chosen = std::getenv("MILLRACE_CONFIG");
  if (config_file.empty() || config_file == kConfigHere ||
      (chosen != nullptr && config_file == chosen))
    return text;
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(kBegin); at != std::string::npos; at = text.find(kBegin, done)) {
    const size_t end = text.find('`', at + 1);
    if (end == std::string::npos) break;
    const std::string command = text.substr(at, end - at);
    out += text.substr(done, at - done) + command;
    const bool whole = command.find(" -c ") != std::string::npos ||
                       command.find("--help") != std::string::npos ||
                       command.starts_with("`millrace help ");
    if (!whole) out += " -c " + shell_word(config_file);
    out += '`';
    done = end + 1;
  }
  return out + text.substr(done);
}

}  // namespace millrace::cli
