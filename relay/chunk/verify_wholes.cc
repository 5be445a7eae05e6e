// Verify: tables without a key, of which only the whole can be compared: the number of rows and a
// hash that does not depend on their order.
//
// Two reads of the source around the target's, each behind a floor of its own: when they found the
// same tuples, no change lay between the first's end and the second's floor, and there the target
// was read. Append-only tables that never rest stay unresolved.
#include <algorithm>

#include "relay/chunk/verify.h"

namespace millrace::chunk {

Status Verify::whole(size_t number) {
  for (int round = 0; round < options_.rounds; ++round) {
    if (round > 0) TRY(pause(std::min(options_.pause * (1 << std::min(round, 5)), Millis(1000))));
    TRY_ASSIGN(bool can, take_floor());
    if (!can) return {};
    TRY_ASSIGN(const compare::Sum before, sides_.source.whole(number));
    TRY_ASSIGN(can, open_target());
    if (!can) return {};
    TRY_ASSIGN(const compare::Sum there, sides_.target.whole(number));
    TRY_ASSIGN(can, close_target());
    if (!can) return {};
    TRY_ASSIGN(can, take_floor());
    if (!can) return {};
    TRY_ASSIGN(const compare::Sum after, sides_.source.whole(number));
    if (before.rows != after.rows || before.marks != after.marks) continue;
    now_.unresolved = 0;
    if (before.rows == there.rows && before.hash == there.hash) {
      now_.equal = before.rows;
    } else if (before.rows != there.rows) {
      (before.rows > there.rows ? now_.missing : now_.extra) =
          std::max(before.rows, there.rows) - std::min(before.rows, there.rows);
    } else {
      now_.different = 1;
    }
    return {};
  }
  undecided_ = "it has no key and was written to at every look; verify it at a quiet moment";
  return {};
}

}  // namespace millrace::chunk
