#include "relay/event/copy_binary.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace millrace {
namespace {

constexpr uint32_t kInt8 = 20, kInt2 = 21, kInt4 = 23, kText = 25, kUuid = 2950;

// bool, bytea, oid, json, floats, char(n), varchar, dates and times, numeric, jsonb besides. No
// money (it has a currency), no interval (its infinity is a number to older servers), no arrays
// (they name their type by OID).
constexpr std::array<uint32_t, 20> kSame = {16,   17,   kInt8, kInt2, kInt4, kText, 26,
                                            114,  700,  701,   1042,  1043,  1082,  1083,
                                            1114, 1184, 1266,  1700,  kUuid, 3802};
constexpr std::array<uint32_t, 5> kTexts = {kInt8, kInt2, kInt4, kText, kUuid};

// The first `bytes` of them, with their sign.
int64_t number(std::string_view from, size_t bytes) {
  if (from.size() < bytes) return 0;
  uint64_t value = (static_cast<uint8_t>(from.front()) & 0x80) != 0 ? ~uint64_t{0} : 0;
  for (const char c : from.substr(0, bytes)) value = value << 8 | static_cast<uint8_t>(c);
  return static_cast<int64_t>(value);
}

// Written out, so that they are one load: four million times a second.
int16_t int2(std::string_view from) {
  const auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(from[i])); };
  return from.size() < 2 ? int16_t{0} : static_cast<int16_t>(at(0) << 8 | at(1));
}

int32_t int4(std::string_view from) {
  const auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(from[i])); };
  if (from.size() < 4) return 0;
  return static_cast<int32_t>(at(0) << 24 | at(1) << 16 | at(2) << 8 | at(3));
}

void append_number(std::string& out, uint32_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift & 0xFF));
  }
}

template <typename List>
bool holds(const List& list, uint32_t type_oid) {
  return std::find(list.begin(), list.end(), type_oid) != list.end();
}

}  // namespace

bool copies_in_binary(uint32_t type_oid) { return holds(kSame, type_oid); }
bool has_text_of_binary(uint32_t type_oid) { return holds(kTexts, type_oid); }

std::string text_of_binary(uint32_t type_oid, std::string_view bytes) {
  if (type_oid == kText) return std::string(bytes);
  if (type_oid != kUuid) return std::to_string(number(bytes, bytes.size()));
  std::string out;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out.push_back('-');
    fmt::format_to(std::back_inserter(out), "{:02x}", static_cast<uint8_t>(bytes[i]));
  }
  return out;
}

std::optional<std::string_view> take_copy_tuple(std::string_view& bytes) {
  std::string_view rest = bytes;
  if (rest.size() < 2) return std::nullopt;
  const int fields = int2(rest);
  if (fields < 0) return std::nullopt;
  rest.remove_prefix(2);
  for (int i = 0; i < fields; ++i) {
    if (rest.size() < 4) return std::nullopt;
    const auto length = static_cast<size_t>(std::max(int4(rest), 0));
    rest.remove_prefix(4);
    if (rest.size() < length) return std::nullopt;
    rest.remove_prefix(length);
  }
  const std::string_view tuple = bytes.substr(0, bytes.size() - rest.size());
  bytes = rest;
  return tuple;
}

std::optional<std::string_view> copy_field(std::string_view tuple, size_t wanted) {
  if (static_cast<int64_t>(wanted) >= int2(tuple)) return std::nullopt;
  tuple.remove_prefix(std::min<size_t>(tuple.size(), 2));
  while (true) {
    const int32_t length = int4(tuple);
    tuple.remove_prefix(std::min<size_t>(tuple.size(), 4));
    const auto bytes = static_cast<size_t>(std::max(length, 0));
    if (wanted == 0) {
      return length < 0 ? std::nullopt : std::optional(tuple.substr(0, bytes));
    }
    tuple.remove_prefix(std::min(tuple.size(), bytes));
    --wanted;
  }
}

void append_copy_tuple(std::string& out, std::string_view tuple, std::string_view field) {
  append_number(out, static_cast<uint32_t>(int2(tuple)) + 1, 2);
  out.append(tuple.substr(2));
  append_number(out, static_cast<uint32_t>(field.size()), 4);
  out.append(field);
}

}  // namespace millrace
