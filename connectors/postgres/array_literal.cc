#include "connectors/postgres/array_literal.h"

#include <algorithm>
#include <cstring>

namespace millrace::postgres {
namespace {

bool is_number(std::string_view value) {
  return !value.empty() && value.size() < 32 && std::all_of(value.begin(), value.end(), [](char c) {
    return (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

}  // namespace

void ArrayLiteral::clear() { text_.assign(1, '{'); }

void ArrayLiteral::separate() {
  if (text_.size() > 1) text_.push_back(',');
}

void ArrayLiteral::add_null() {
  separate();
  text_.append("NULL");
}

bool ArrayLiteral::add(std::string_view value) {
  separate();
  if (is_number(value)) {
    text_.append(value);
    return true;
  }
  const size_t start = text_.size();
  size_t escapes = 0;
  bool nul = false;
  for (const char c : value) {
    escapes += (c == '"' || c == '\\') ? 1 : 0;
    nul |= c == '\0';
  }
  if (nul) return false;
  text_.resize(start + value.size() + escapes + 2);
  char* out = text_.data() + start;
  *out++ = '"';
  if (escapes == 0) {
    if (!value.empty()) std::memcpy(out, value.data(), value.size());
    out += value.size();
  } else {
    for (const char c : value) {
      if (c == '"' || c == '\\') *out++ = '\\';
      *out++ = c;
    }
  }
  *out = '"';
  return true;
}

void ArrayLiteral::add(const Version& version) {
  separate();
  text_.append("\"\\\\x").append(to_hex(version)).push_back('"');
}

const char* ArrayLiteral::finish() {
  text_.push_back('}');
  return text_.c_str();
}

}  // namespace millrace::postgres
