#include "connectors/postgres/array_literal.h"

#include <string>

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::postgres;

namespace {

std::string array_of(std::initializer_list<const char*> values) {
  ArrayLiteral array;
  for (const char* value : values) {
    if (value == nullptr) {
      array.add_null();
    } else {
      CHECK(array.add(value));
    }
  }
  return array.finish();
}

}  // namespace

TEST_CASE("ArrayLiteral: numbers are bare, everything else is quoted") {
  CHECK(array_of({}) == "{}");
  CHECK(array_of({"1", "-2.5", "x"}) == "{1,-2.5,\"x\"}");
  CHECK(array_of({""}) == "{\"\"}");
  CHECK(array_of({nullptr, "NULL"}) == "{NULL,\"NULL\"}");
  CHECK(array_of({"{a,b}", " "}) == "{\"{a,b}\",\" \"}");
}

TEST_CASE("ArrayLiteral: quotes and backslashes are escaped, first and last too") {
  CHECK(array_of({"\"", "\\", "a\"b\\c"}) == "{\"\\\"\",\"\\\\\",\"a\\\"b\\\\c\"}");
}

TEST_CASE("ArrayLiteral: a NUL byte is refused") {
  ArrayLiteral array;
  CHECK_FALSE(array.add(std::string_view("a\0b", 3)));
}

TEST_CASE("ArrayLiteral: versions as bytea, and reuse after clear") {
  ArrayLiteral array;
  array.add(make_version(1, Lsn{0x16B374D848}, 7));
  CHECK(std::string(array.finish()) ==
        "{\"\\\\x00000001000000"
        "16b374d84800000007\"}");
  array.clear();
  array.add_null();
  CHECK(std::string(array.finish()) == "{NULL}");
}
