// Secret: text that is used and never shown. It has no stream or format operator on purpose.
#pragma once

#include <string>
#include <utility>

namespace millrace::config {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}

  // The only way to the text; for the library that needs it, never for messages.
  const std::string& reveal() const { return text_; }
  bool empty() const { return text_.empty(); }
  bool operator==(const Secret&) const = default;

 private:
  std::string text_;
};

}  // namespace millrace::config
