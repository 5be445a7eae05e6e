#include "relay/cli/place.h"

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::cli;

TEST_CASE("parse_place: LSNs, positions and times") {
  CHECK(std::get<Lsn>(*parse_place("0/16B3748")) == Lsn{0x16B3748});
  CHECK(std::get<Lsn>(*parse_place("1:16/B374D848")) == Lsn{0x16B374D848});
  CHECK(std::get<Lsn>(*parse_place("1:16/B374D848:7")) == Lsn{0x16B374D848});
  CHECK(std::get<TimeMicros>(*parse_place("2025-11-20T10:00:00Z")).value == 1763632800000000);
  CHECK(std::get<TimeMicros>(*parse_place("2025-11-20T10:00Z")).value == 1763632800000000);
}

TEST_CASE("parse_place: anything else is a config error that shows the forms") {
  for (const char* bad : {"", "x", "0/", "1:", ":0/1", "a:0/1", "1:0/1:", "1:0/1:x", "yesterday",
                          "2025-11-20", "12345"}) {
    const auto place = parse_place(bad);
    REQUIRE_MESSAGE(!place.has_value(), bad);
    CHECK(place.error().code() == ErrorCode::config);
    CHECK(place.error().hint().find("0/16B3748") != std::string::npos);
  }
}

TEST_CASE("is_before: the bound itself is not before") {
  CHECK(is_before(Lsn{9}, {}, Place(Lsn{10})));
  CHECK_FALSE(is_before(Lsn{10}, {}, Place(Lsn{10})));
  CHECK(is_before({}, TimeMicros{9}, Place(TimeMicros{10})));
  CHECK_FALSE(is_before({}, TimeMicros{10}, Place(TimeMicros{10})));
}
