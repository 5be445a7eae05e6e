#include "relay/chunk/verdict.h"

#include <utility>

namespace millrace::chunk {

Verdict KeyCase::look(const Sight& sight) {
  const auto before = std::exchange(only_in_source_, std::nullopt);
  changed_ = sight.in_target && sight.changing;
  // A change from the floor on: the source's snapshot may or may not have seen it.
  if (changed_) return Verdict::again;
  // No change from the floor on, up to what is applied: both show the state at the floor.
  if (sight.in_target) {
    if (!sight.in_source) return Verdict::extra;
    return sight.same ? Verdict::equal : Verdict::different;
  }
  if (!sight.in_source) return Verdict::gone;
  // It may have been deleted since. The same tuple at the next floor was not, in all the time
  // between, and the target's place lay there.
  if (before == sight.tuple) return Verdict::missing;
  only_in_source_ = sight.tuple;
  return Verdict::again;
}

std::string KeyCase::why() const {
  return changed_ ? "it was changed at every look"
                  : "it came and went, or its row was written anew, at every look";
}

}  // namespace millrace::chunk
