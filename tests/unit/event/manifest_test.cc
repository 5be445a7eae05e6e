#include "relay/event/manifest.h"

#include <doctest/doctest.h>

namespace millrace::test {

TEST_CASE("describe(Manifest): from where to where, and how much") {
  Manifest manifest;
  manifest.previous = {1, Lsn{0x16B3748}, {}, {}};
  manifest.last = {1, Lsn{0x16B3900}, {}, {}};
  manifest.rows = 12;
  manifest.transactions = 3;
  CHECK(describe(manifest) == "1:0/16B3748..1:0/16B3900, 12 rows of 3 transactions");
}

}  // namespace millrace::test
