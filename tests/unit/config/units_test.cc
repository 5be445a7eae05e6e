#include "relay/config/units.h"

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::config;

TEST_CASE("parse_size") {
  CHECK(parse_size("64MB") == 64ull << 20);
  CHECK(parse_size("64 mb") == 64ull << 20);
  CHECK(parse_size("1B") == 1);
  CHECK(parse_size("2TB") == 2ull << 40);
  CHECK(parse_size("0") == 0);
  for (const char* bad : {"", "MB", "64", "-1MB", "1.5GB", "64MiBs", "99999999999TB", "64 MB x"}) {
    CHECK_MESSAGE(!parse_size(bad).has_value(), bad);
  }
}

TEST_CASE("parse_duration") {
  CHECK(parse_duration("500ms") == Millis(500));
  CHECK(parse_duration("5m") == Millis(300000));
  CHECK(parse_duration("7d") == Millis(604800000));
  CHECK(parse_duration("0") == Millis(0));
  for (const char* bad : {"", "5", "5 parsecs", "ms", "-5s", "1e3s", "999999999999999999d"}) {
    CHECK_MESSAGE(!parse_duration(bad).has_value(), bad);
  }
}

TEST_CASE("format: what the parser reads back") {
  for (const char* text : {"64MB", "1B", "1025B", "20GB"})
    CHECK(format_size(*parse_size(text)) == text);
  for (const char* text : {"500ms", "15s", "1d", "90s"}) {
    CHECK(format_duration(*parse_duration(text)) == text);
  }
  CHECK(format_size(0) == "0");
}

TEST_CASE("edit_distance") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("slott", "slot") == 1);
  CHECK(edit_distance("kitten", "sitting") == 3);
}
