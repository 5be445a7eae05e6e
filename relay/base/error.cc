#include "relay/base/error.h"

namespace millrace {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::retryable:
      return "retryable";
    case ErrorCode::conflict:
      return "conflict";
    case ErrorCode::rejected:
      return "rejected";
    case ErrorCode::bad_data:
      return "bad_data";
    case ErrorCode::config:
      return "config";
    case ErrorCode::negative:
      return "negative";
    case ErrorCode::refused:
      return "refused";
    case ErrorCode::corruption:
      return "corruption";
    case ErrorCode::fatal:
      return "fatal";
    case ErrorCode::cancelled:
      return "cancelled";
  }
  return "unknown";
}

Error Error::at(std::string where) && {
  context_.push_back(std::move(where));
  return std::move(*this);
}

Error Error::with_hint(std::string hint) && {
  hint_ = std::move(hint);
  return std::move(*this);
}

Error Error::with_code(ErrorCode code) && {
  code_ = code;
  return std::move(*this);
}

std::string Error::describe() const {
  std::string out = message_;
  if (!context_.empty()) {
    out += " (";
    for (size_t i = 0; i < context_.size(); ++i) {
      if (i > 0) out += ", ";
      out += context_[i];
    }
    out += ")";
  }
  if (!hint_.empty()) {
    out += "; ";
    out += hint_;
  }
  return out;
}

int exit_code(const Error& error) {
  switch (error.code()) {
    case ErrorCode::config:
      return 2;
    case ErrorCode::negative:
      return 3;
    case ErrorCode::refused:
      return 4;
    default:
      return 1;
  }
}

}  // namespace millrace
