#include "relay/checkpoint/entry_codec.h"

#include <algorithm>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/unit/checkpoint/samples.h"

namespace millrace::checkpoint::test {
namespace {

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return out;
}

Entry with_ranges() {
  Entry entry = sample();
  entry.ranges = {{"shop.public.accounts", 5, 10, 14, 2}, {"", 0, -1, 0, 0}};
  return entry;
}

}  // namespace

TEST_CASE("encode_entry: golden bytes") {
  CHECK(hex(encode_entry(sample(Kind::applied))) ==
        "0103"
        "00000004"
        "73686f70"  // shop
        "00000001"
        "00000016b374d8a0"
        "00000016b374d848"  // timeline, end, commit
        "80064417e06647fb"  // commit time
        "800000000000004d"
        "8000000000000050"
        "00000003"  // token, offset, epoch
        "00000013"
        "37303030303030303030303030303030303031"  // system identifier
        "80064417e0664800"
        "00000000");  // at, no ranges
}

TEST_CASE("encode_entry and decode_entry: round trip") {
  Entry smallest;
  smallest.at = TimeMicros{-1};
  for (const Entry& entry : {sample(), sample(Kind::acknowledged), with_ranges(), smallest}) {
    CHECK(must(decode_entry(encode_entry(entry))) == entry);
  }
}

TEST_CASE("decode_entry: truncated at every length, and one byte too many") {
  const std::string bytes = encode_entry(with_ranges());
  for (size_t length = 0; length < bytes.size(); ++length) {
    const auto decoded = decode_entry(std::string_view(bytes).substr(0, length));
    REQUIRE(!decoded);
    CHECK(decoded.error().code() == ErrorCode::corruption);
  }
  CHECK(decode_entry(bytes + '\0').error().message() ==
        "checkpoint: entry with bytes behind its end");
}

TEST_CASE("decode_entry: kinds, formats and counts that can not be") {
  std::string bytes = encode_entry(sample());
  bytes[1] = 0;
  CHECK(decode_entry(bytes).error().message() == "checkpoint: entry of kind 0");
  bytes[1] = 4;
  CHECK(decode_entry(bytes).error().message() == "checkpoint: entry of kind 4");
  bytes[0] = 2;
  CHECK(decode_entry(bytes).error().code() == ErrorCode::refused);
  CHECK(decode_entry(bytes).error().message() ==
        "a checkpoint has format 2; this version reads format 1");
  bytes = encode_entry(sample());
  std::fill(bytes.end() - 4, bytes.end(), '\xFF');  // four thousand million ranges
  CHECK(decode_entry(bytes).error().code() == ErrorCode::corruption);
  bytes = encode_entry(sample());
  std::fill(bytes.begin() + 2, bytes.begin() + 6, '\xFF');  // a name of 4 GB
  CHECK(decode_entry(bytes).error().code() == ErrorCode::corruption);
}

TEST_CASE("decode_name: round trip and truncation") {
  const std::string bytes = encode_name("shop");
  CHECK(must(decode_name(bytes)) == "shop");
  for (size_t length = 0; length < bytes.size(); ++length) {
    CHECK(!decode_name(std::string_view(bytes).substr(0, length)));
  }
  CHECK(!decode_name(bytes + "x"));
}

TEST_CASE("decode_texts: round trip, truncation, and more than there are") {
  const std::vector<std::string> texts{"public.t", "", "public.\"Odd\nname\""};
  const std::string bytes = encode_texts(texts);
  CHECK(must(decode_texts(bytes)) == texts);
  CHECK(must(decode_texts(encode_texts({}))).empty());
  for (size_t length = 0; length < bytes.size(); ++length) {
    CHECK(!decode_texts(std::string_view(bytes).substr(0, length)));
  }
  CHECK(!decode_texts(bytes + "x"));
  CHECK(!decode_texts(std::string("\x01\xff\xff\xff\xff", 5)));
}

TEST_CASE("keys: golden bytes") {
  CHECK(hex(tables_key()) == "0174");
  CHECK(hex(name_key()) == "0100");
  CHECK(hex(latest_key(Kind::applied)) == "0103");
  CHECK(hex(encode_key(position_of(sample()))) ==
        "017000000003"
        "00000016b374d8a0"
        "8000000000000050");
  CHECK(hex(encode_key(time_of(sample()))) ==
        "0174"
        "80064417e0664800"
        "00000003"
        "00000016b374d8a0"
        "8000000000000050");
}

TEST_CASE("keys: bytes sort as what they mean, across every sign and carry") {
  std::vector<PositionKey> positions;
  for (const uint32_t epoch : {0U, 1U, 255U, 256U, 0xFFFFFFFFU}) {
    for (const uint64_t lsn : {0ULL, 0xFFULL, 0x100ULL, 0xFFFFFFFFULL, 0x100000000ULL, ~0ULL}) {
      for (const int64_t offset : {-1LL, 0LL, 1LL, 0x7FFFFFFFFFFFFFFFLL}) {
        positions.push_back({{epoch, Lsn{lsn}}, offset});
      }
    }
  }
  std::vector<TimeKey> times;
  for (const int64_t at : {INT64_MIN, int64_t{-1}, int64_t{0}, int64_t{1}, INT64_MAX}) {
    for (const PositionKey& position : positions) times.push_back({TimeMicros{at}, position});
  }
  const auto check = [](const auto& keys, const auto& decode) {
    for (size_t i = 0; i < keys.size(); ++i) {
      CHECK(decode(encode_key(keys[i])) == keys[i]);
      if (i > 0) CHECK(encode_key(keys[i - 1]) < encode_key(keys[i]));
    }
  };
  check(positions, decode_position_key);
  check(times, decode_time_key);
  CHECK(first_time_key({INT64_MIN}) < encode_key(times.front()));
  CHECK(encode_key(times.back()) < time_keys_end());
  CHECK(encode_key(positions.back()) < position_keys_end());
  CHECK(position_keys_end() < first_time_key({INT64_MIN}));
}

TEST_CASE("decode_key: wrong families, lengths and formats") {
  const std::string position = encode_key(position_of(sample()));
  const std::string time = encode_key(time_of(sample()));
  CHECK(!decode_position_key(time));
  CHECK(!decode_time_key(position));
  CHECK(!decode_position_key(position + "x"));
  for (size_t length = 0; length < time.size(); ++length) {
    CHECK(!decode_time_key(std::string_view(time).substr(0, length)));
  }
}

}  // namespace millrace::checkpoint::test
