#include "relay/base/error.h"

#include <memory>
#include <set>

#include <doctest/doctest.h>

#include "relay/base/result.h"

namespace millrace::test {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return fail(ErrorCode::bad_data, "odd", "give an even one");
  return number / 2;
}

Status quarter(int number, int* out) {
  TRY_ASSIGN(const int once, half(number));
  TRY_ASSIGN(*out, half(once));
  return {};
}

Status twice(Status first, bool* reached) {
  TRY(std::move(first));
  *reached = true;
  return {};
}

}  // namespace

TEST_CASE("Error: describe joins message, context and hint") {
  CHECK(Error(ErrorCode::fatal, "broken").describe() == "broken");
  CHECK(Error(ErrorCode::fatal, "broken", "mend it").describe() == "broken; mend it");
  CHECK(Error(ErrorCode::fatal, "broken", "mend it").at("table t").at("slot s").describe() ==
        "broken (table t, slot s); mend it");
}

TEST_CASE("Error: code and hint can be replaced, the message stays") {
  const Error error =
      Error(ErrorCode::bad_data, "broken", "a").with_code(ErrorCode::refused).with_hint("b");
  CHECK(error.code() == ErrorCode::refused);
  CHECK(error.message() == "broken");
  CHECK(error.hint() == "b");
}

TEST_CASE("exit_code: as the interface promises") {
  const auto of = [](ErrorCode code) { return exit_code(Error(code, "")); };
  CHECK(of(ErrorCode::config) == 2);
  CHECK(of(ErrorCode::negative) == 3);
  CHECK(of(ErrorCode::refused) == 4);
  for (const ErrorCode code : {ErrorCode::retryable, ErrorCode::conflict, ErrorCode::bad_data,
                               ErrorCode::corruption, ErrorCode::fatal}) {
    CHECK(of(code) == 1);
  }
}

TEST_CASE("to_string(ErrorCode): every code has a name of its own") {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(ErrorCode::cancelled); ++code) {
    names.insert(to_string(static_cast<ErrorCode>(code)));
  }
  CHECK(names.size() == 10);
  CHECK(names.count("unknown") == 0);
}

TEST_CASE("TRY and TRY_ASSIGN: values go on, errors come back whole") {
  int out = 0;
  CHECK(quarter(12, &out));
  CHECK(out == 3);
  const auto failed = quarter(6, &out);
  REQUIRE(!failed);
  CHECK(failed.error().describe() == "odd; give an even one");
  bool reached = false;
  CHECK(!twice(fail(ErrorCode::cancelled, "no"), &reached));
  CHECK(!reached);
  CHECK(twice({}, &reached));
  CHECK(reached);
}

TEST_CASE("TRY_ASSIGN: moves what can not be copied") {
  const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(5); };
  const auto use = [&]() -> Result<int> {
    TRY_ASSIGN(const auto held, make());
    return *held;
  };
  CHECK(use().value() == 5);
}

}  // namespace millrace::test
