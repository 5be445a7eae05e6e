// What an operator does with parked changes: finds out which belong together, tries them again,
// drops them.
//
// A chain is the letters of one row, under whatever keys it had. Invariants: a chain's letters are
// applied in the source's order, in one target transaction with their removal, and under the
// version guard, so that a newer row stays; the pipeline may run meanwhile, its applier waits for
// each such transaction. One thread, the target's.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "relay/base/result.h"
#include "relay/sink/target.h"

namespace millrace::pipeline {

// For each letter (in the source's order) the place of the first one of its chain.
std::vector<size_t> chain_heads(std::span<const sink::Letter> letters);

struct Stuck {
  sink::Letter letter;  // as listed
  Error error;
  uint64_t waiting = 0;  // letters of its chain that are left, itself included
};
struct RetryOutcome {
  uint64_t applied = 0;
  std::vector<Stuck> stuck;  // one a chain
};

// Tries the chains of these letters. A chain is first applied as a whole, as a batch is, so that a
// value that a later change corrects does no harm; then one by one up to the letter that fails,
// which stays with what is behind it. Chains that wait for another (a parent's) are tried again
// while something moves. A transaction takes up to `letters_max`, and 8 MB. REQUIRES: `target` was
// opened to park rows, and is connected. Errors: retryable, corruption; what was committed before
// stays done.
Result<RetryOutcome> retry_letters(sink::Target& target, std::span<const sink::Letter> letters,
                                   size_t letters_max = 10'000);

// Removes these letters, and keeps in the target who did it and why. Returns how many were there.
Result<uint64_t> drop_letters(sink::Target& target, std::span<const sink::Letter> letters,
                              const std::string& who, const std::string& why);

}  // namespace millrace::pipeline
