// Keys and values of the checkpoint database as bytes: encode above decode.
//
// Keys are big-endian, so that their byte order is their meaning's; the first byte is the format.
//   checkpoint  01 00                                             the pipeline's name
//               01 kind                                           the latest entry of a kind
//               01 't'                                            the tables that are published
//   history     01 'p' epoch:4 end_lsn:8 manifest_offset:8        an entry, by position
//               01 't' at:8 epoch:4 end_lsn:8 manifest_offset:8   nothing, by time
//
// Times and offsets have their sign bit flipped. Values: docs/formats.md.
// Thread-safe: no state. Decoders are bounds-checked.
// Errors: corruption; refused for a newer format.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "relay/base/result.h"
#include "relay/checkpoint/entry.h"

namespace millrace::checkpoint {

inline constexpr uint8_t kFormat = 1;

std::string encode_entry(const Entry& entry);
Result<Entry> decode_entry(std::string_view value);

std::string encode_name(std::string_view pipeline);
Result<std::string> decode_name(std::string_view value);

std::string encode_texts(const std::vector<std::string>& texts);
Result<std::vector<std::string>> decode_texts(std::string_view value);

std::string name_key();
std::string tables_key();
std::string latest_key(Kind kind);

// What orders history entries by position; unique for a manifest.
struct PositionKey {
  Place place;
  LogOffset manifest_offset = -1;
  auto operator<=>(const PositionKey&) const = default;
};

struct TimeKey {
  TimeMicros at;
  PositionKey position;
  auto operator<=>(const TimeKey&) const = default;
};

PositionKey position_of(const Entry& entry);
TimeKey time_of(const Entry& entry);

std::string encode_key(const PositionKey& key);
std::string encode_key(const TimeKey& key);
std::optional<PositionKey> decode_position_key(std::string_view key);
std::optional<TimeKey> decode_time_key(std::string_view key);

// The first possible keys, for bounds: everything of the family is at or after `first_*`, and
// before
// `*_end`.
std::string first_position_key(const Place& place);
std::string first_time_key(TimeMicros at);
std::string position_keys_end();
std::string time_keys_end();

}  // namespace millrace::checkpoint
