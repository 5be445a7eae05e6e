#include "relay/base/disk.h"

#include <doctest/doctest.h>

using namespace millrace;

TEST_CASE("require_room: room, none, and a folder that is not there") {
  CHECK(require_room("/tmp", 1));
  const auto full = require_room("/tmp", uint64_t{1} << 62);
  REQUIRE_FALSE(full);
  CHECK(full.error().code() == ErrorCode::retryable);
  CHECK(full.error().message().find("No space left for /tmp") != std::string::npos);
  CHECK(require_room("/no such folder", uint64_t{1} << 62));
}
