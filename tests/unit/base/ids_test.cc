#include "relay/base/ids.h"

#include <climits>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>

namespace millrace::test {

TEST_CASE("to_string(Lsn): as Postgres writes it") {
  CHECK(to_string(Lsn{0}) == "0/0");
  CHECK(to_string(Lsn{0x16'B374'D848}) == "16/B374D848");
  CHECK(to_string(Lsn{0x1'0000'000A}) == "1/A");
  CHECK(to_string(Lsn{~0ULL}) == "FFFFFFFF/FFFFFFFF");
}

TEST_CASE("parse_lsn: round trip and lower case") {
  for (const uint64_t value : {0ULL, 1ULL, 0xFFFFFFFFULL, 0x100000000ULL, 0x16B374D848ULL, ~0ULL}) {
    CHECK(parse_lsn(to_string(Lsn{value})) == Lsn{value});
  }
  CHECK(parse_lsn("16/b374d848") == Lsn{0x16'B374'D848});
  CHECK(parse_lsn("00000016/0000000A") == Lsn{0x16'0000'000A});
}

TEST_CASE("parse_lsn: what is no LSN") {
  for (const char* text : {"", "/", "1/", "/1", "1", "1/2/3", "G/1", "1/G", " 1/2", "1/2 ", "-1/2",
                           "1/-2", "0x1/2", "123456789/1", "1/123456789", "+1/2"}) {
    CAPTURE(text);
    CHECK(!parse_lsn(text));
  }
}

TEST_CASE("to_string(TimeMicros): UTC with microseconds, also before 1970") {
  CHECK(to_string(TimeMicros{0}) == "1970-01-01T00:00:00.000000Z");
  CHECK(to_string(TimeMicros{-1}) == "1969-12-31T23:59:59.999999Z");
  CHECK(to_string(TimeMicros{1'795'255'200'000'001}) == "2026-11-21T10:00:00.000001Z");
}

TEST_CASE("Position: timeline, then commit, then ordinal") {
  const std::vector<Position> ascending{
      {1, Lsn{5}, 0}, {1, Lsn{5}, 1}, {1, Lsn{5}, UINT32_MAX}, {1, Lsn{6}, 0}, {2, Lsn{1}, 0}};
  for (size_t i = 1; i < ascending.size(); ++i) CHECK(ascending[i - 1] < ascending[i]);
  CHECK(to_string(Position{1, Lsn{0x16'B374'D848}, 7}) == "1:16/B374D848:7");
}

TEST_CASE("Watermark: contains commits that start before its end, and no other") {
  const Watermark watermark{1, Lsn{100}, Lsn{90}, {}};
  CHECK(watermark.contains(Lsn{90}));
  CHECK(watermark.contains(Lsn{99}));
  CHECK(!watermark.contains(Lsn{100}));
  CHECK(!Watermark{}.contains(Lsn{0}));
  CHECK(to_string(watermark) == "1:0/64");
}

TEST_CASE("Version: golden bytes, and memcmp is the order") {
  CHECK(to_hex(make_version(3, Lsn{0x16'B374'D848}, 7)) == "0000000300000016b374d84800000007");
  const std::vector<Version> ascending{
      make_version(0, Lsn{0}, 0),         make_version(0, Lsn{0}, 1),
      make_version(0, Lsn{0}, 256),       make_version(0, Lsn{255}, 0),
      make_version(0, Lsn{256}, 0),       make_version(0, Lsn{1ULL << 32}, 0),
      make_version(1, Lsn{0}, 0),         make_version(256, Lsn{0}, 0),
      make_version(UINT32_MAX, Lsn{0}, 0)};
  for (size_t i = 1; i < ascending.size(); ++i) {
    CHECK(ascending[i - 1] < ascending[i]);
    CHECK(std::memcmp(ascending[i - 1].bytes.data(), ascending[i].bytes.data(), 16) < 0);
  }
}

}  // namespace millrace::test
