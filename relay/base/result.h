// Result<T>: a value or an Error. Nothing in the relay throws across a folder's edge.
#pragma once

#include <utility>

#include <tl/expected.hpp>

#include "relay/base/error.h"

namespace millrace {

template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  Result(tl::expected<T, Error>&& base) : tl::expected<T, Error>(std::move(base)) {}
};

using Status = Result<void>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string message, std::string hint = {}) {
  return tl::unexpected<Error>(Error(code, std::move(message), std::move(hint)));
}

inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

}  // namespace millrace

#define MILLRACE_CONCAT_INNER(a, b) a##b
#define MILLRACE_CONCAT(a, b) MILLRACE_CONCAT_INNER(a, b)

// Returns the error of a Status or Result from the enclosing function.
#define TRY(expression)                                        \
  do {                                                         \
    if (auto try_result_ = (expression); !try_result_)         \
      return ::millrace::fail(std::move(try_result_).error()); \
  } while (false)

// TRY_ASSIGN(auto x, f()): declares or assigns x from f()'s value, or returns its error.
#define TRY_ASSIGN(target, expression) \
  TRY_ASSIGN_INNER(MILLRACE_CONCAT(try_value_, __LINE__), target, expression)
#define TRY_ASSIGN_INNER(temporary, target, expression)                  \
  auto temporary = (expression);                                         \
  if (!temporary) return ::millrace::fail(std::move(temporary).error()); \
  target = std::move(*temporary)
