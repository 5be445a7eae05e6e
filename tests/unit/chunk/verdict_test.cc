#include "relay/chunk/verdict.h"

#include <doctest/doctest.h>

namespace millrace::chunk {
namespace {

Sight both(bool same, bool changing = false) { return {true, true, changing, same, "1"}; }
Sight source_only(const char* tuple) { return {true, false, false, false, tuple}; }
Sight target_only(bool changing = false) { return {false, true, changing, false, ""}; }
const Sight kNeither;

TEST_CASE("KeyCase: a row that did not change from the floor on is judged at once") {
  CHECK(KeyCase().look(both(true)) == Verdict::equal);
  CHECK(KeyCase().look(both(false)) == Verdict::different);
  CHECK(KeyCase().look(target_only()) == Verdict::extra);
  CHECK(KeyCase().look(kNeither) == Verdict::gone);
}

TEST_CASE("KeyCase: a row that changed from the floor on is never judged, equal or not") {
  CHECK(KeyCase().look(both(true, true)) == Verdict::again);
  CHECK(KeyCase().look(both(false, true)) == Verdict::again);
  CHECK(KeyCase().look(target_only(true)) == Verdict::again);
}

TEST_CASE("KeyCase: missing is what the same tuple says twice, one look after the other") {
  KeyCase deleted;  // between the two looks
  CHECK(deleted.look(source_only("a")) == Verdict::again);
  CHECK(deleted.look(kNeither) == Verdict::gone);

  KeyCase missing;
  CHECK(missing.look(source_only("a")) == Verdict::again);
  CHECK(missing.look(source_only("a")) == Verdict::missing);

  KeyCase written_anew;
  CHECK(written_anew.look(source_only("a")) == Verdict::again);
  CHECK(written_anew.look(source_only("b")) == Verdict::again);
  CHECK(written_anew.look(source_only("a")) == Verdict::again);
  CHECK(written_anew.look(source_only("a")) == Verdict::missing);

  KeyCase interrupted;
  CHECK(interrupted.look(source_only("a")) == Verdict::again);
  CHECK(interrupted.look(both(true, true)) == Verdict::again);
  CHECK(interrupted.look(source_only("a")) == Verdict::again);
  CHECK(interrupted.look(both(true)) == Verdict::equal);
}

}  // namespace
}  // namespace millrace::chunk
