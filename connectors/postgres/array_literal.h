// ArrayLiteral: Postgres array text ('{"a",NULL,"b\\c"}') built from values, for one bulk
// parameter.
//
// Source: PostgreSQL docs, "Array Input and Output Syntax". Reused between statements: clear()
// keeps memory.
#pragma once

#include <string>
#include <string_view>

#include "relay/base/ids.h"

namespace millrace::postgres {

class ArrayLiteral {
 public:
  void clear();
  void reserve(size_t bytes) { text_.reserve(bytes); }
  void add_null();
  // False when `value` holds a NUL byte: text parameters end there, so it must not be sent.
  bool add(std::string_view value);
  // A bytea element: \x and 32 digits.
  void add(const Version& version);
  // Closes the array; valid until the next clear().
  const char* finish();
  size_t bytes() const { return text_.size(); }

 private:
  void separate();
  std::string text_ = "{";
};

}  // namespace millrace::postgres
