// The numbers that order everything: Lsn, Position, Watermark, Version.
//
// They are distinct types, so that a received LSN can not be passed for an applied one by accident
// of type, and names say the rest (received_, published_, acknowledged_, applied_).
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

// A byte position in the source's write-ahead log. Source: PostgreSQL docs, "pg_lsn Type".
struct Lsn {
  uint64_t value = 0;
  auto operator<=>(const Lsn&) const = default;
  explicit operator bool() const { return value != 0; }
};

std::string to_string(Lsn lsn);                       // "16/B374D848"
std::optional<Lsn> parse_lsn(std::string_view text);  // of the same form

// Microseconds since 1970-01-01 UTC, by the source's clock where it comes from a commit.
struct TimeMicros {
  int64_t value = 0;
  auto operator<=>(const TimeMicros&) const = default;
};

std::string to_string(TimeMicros time);  // "2026-11-20T10:00:00.000000Z"

// Where one change stands: the commit record of its transaction and its ordinal inside (from 0).
struct Position {
  uint32_t timeline = 0;
  Lsn commit_lsn;
  uint32_t ordinal = 0;
  auto operator<=>(const Position&) const = default;
};

std::string to_string(const Position& position);  // "1:16/B374D848:7"

// How far a stage has come: every transaction whose commit record starts before end_lsn is
// contained, none that starts at or after it is. end_lsn is the end of the last contained commit
// record, or the end of WAL known to hold nothing else; it is what a slot is acknowledged with and
// resumed from.
struct Watermark {
  uint32_t timeline = 0;
  Lsn end_lsn;
  Lsn commit_lsn;          // of the last contained transaction; 0/0 when none was seen yet
  TimeMicros commit_time;  // of that transaction, by the source's clock
  bool contains(Lsn commit) const { return commit < end_lsn; }
  bool operator==(const Watermark&) const = default;
};

std::string to_string(const Watermark& watermark);  // "1:16/B374D8A0"

// What a target row remembers of the change that wrote it: epoch, commit LSN and ordinal,
// big-endian, so that memcmp is the order. Source: docs/formats.md.
struct Version {
  std::array<uint8_t, 16> bytes{};
  auto operator<=>(const Version&) const = default;
};

Version make_version(uint32_t epoch, Lsn commit_lsn, uint32_t ordinal);
std::string to_hex(const Version& version);  // 32 lower-case digits

}  // namespace millrace
