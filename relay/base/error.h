// Error: what went wrong, what to do about it, and where it happened.
//
// The code decides what the caller does next, so that nobody parses a message. A message never
// holds passwords or row values other than a key's.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace {

enum class ErrorCode {
  retryable,   // may pass by itself (connection, lock, broker): try again with backoff, for ever
  conflict,    // a bulk statement met a constraint: apply the same changes again in source order
  rejected,    // the target does not take this one change, and the transaction goes on: park it
  bad_data,    // needs a hand but no restart (a row or schema that does not fit): stop, try again
               // slowly
  config,      // usage or configuration: exit 2, nothing touched
  negative,    // a check found a blocker: exit 3
  refused,     // going on would lose or overwrite data: exit 4 at once
  corruption,  // bytes that can not be what was written: stop with the position
  fatal,       // a bug or an impossible state: exit 1
  cancelled,   // the caller asked to stop
};

std::string_view to_string(ErrorCode code);

class Error {
 public:
  Error(ErrorCode code, std::string message, std::string hint = {})
      : code_(code), message_(std::move(message)), hint_(std::move(hint)) {}

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  // Names the command, SQL or setting that resolves it; empty when there is none.
  const std::string& hint() const { return hint_; }

  // By value, so that `error = std::move(error).at(…)` is no self-move.
  // Adds where it happened ("table public.t", "position 0/16B3748"); outermost last.
  Error at(std::string where) &&;
  Error with_hint(std::string hint) &&;
  Error with_code(ErrorCode code) &&;

  // "message (slot x, table y); hint"
  std::string describe() const;

 private:
  ErrorCode code_;
  std::string message_;
  std::string hint_;
  std::vector<std::string> context_;
};

// The process exit code that interface documentation promises for an error.
int exit_code(const Error& error);

}  // namespace millrace
