#include "relay/config/mistakes.h"

#include <algorithm>

namespace millrace::config {

void Mistakes::add(int line, std::string message) {
  // Keys and values of a file may hold anything; a mistake is one line of printable text.
  for (char& c : message) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  found_.push_back({line, std::move(message)});
}

Error Mistakes::error() const {
  auto sorted = found_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Mistake& a, const Mistake& b) { return a.line < b.line; });
  std::string message;
  for (const Mistake& mistake : sorted) {
    if (!message.empty()) message += '\n';
    message += file_ + ":" + std::to_string(mistake.line) + ": " + mistake.message;
  }
  return Error(ErrorCode::config, std::move(message),
               "correct the file; docs/configuration.md has every key");
}

}  // namespace millrace::config
