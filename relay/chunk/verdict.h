// Verdict: what one look at one key, on both sides, says about it; and what two looks say.
//
// Invariant: a verdict other than `again` is true of the target at the place in the stream that was
// looked at, whatever is written meanwhile (docs/decisions/0013-verify-settles-by-version.md). A
// look is: a floor F that every source snapshot sees; the source's row by a snapshot after it; E,
// the end of WAL after that; the target's row by a snapshot that has applied E. Pure; no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace millrace::chunk {

enum class Verdict : uint8_t { equal, different, missing, extra, gone, again };

struct Sight {
  bool in_source = false;
  bool in_target = false;
  bool changing = false;  // the target's version is from F on
  bool same = false;      // both are there, and every column is equal
  std::string tuple;      // of the source: place and writer
};

// The looks at one key, in their order; the floor of each lies behind what the last one had seen
// applied.
class KeyCase {
 public:
  Verdict look(const Sight& sight);
  // Why it is not settled, for people.
  std::string why() const;

 private:
  std::optional<std::string> only_in_source_;  // the tuple that the last look found there alone
  bool changed_ = false;
};

}  // namespace millrace::chunk
