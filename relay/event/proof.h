// Proof: what one comparison of a table (or one invariant) showed, at which place in the stream and
// when; the target keeps the last ones (millrace.proof). Plain data.
#pragma once

#include <cstdint>
#include <string>

#include "relay/base/ids.h"

namespace millrace {

struct Proof {
  std::string kind;     // rows | counts | sample | drift | invariants
  std::string subject;  // the source's table, or the invariant's name
  std::string scope;    // what of the table; empty: all of it
  std::string verdict;  // equal | different | undecided
  std::string why;      // undecided
  uint32_t epoch = 1;
  uint32_t timeline = 0;
  Lsn from, to;  // every row was compared at a place in the stream between them
  std::string config_hash;
  uint64_t compared = 0, equal = 0, missing = 0, extra = 0, different = 0, unresolved = 0;
  std::string who;  // "schedule: …", or a person
  TimeMicros started_at, ended_at;

  uint64_t differences() const { return missing + extra + different; }
  bool operator==(const Proof&) const = default;
};

}  // namespace millrace
