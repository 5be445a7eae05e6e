#include "relay/config/units.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>
#include <vector>

namespace millrace::config {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr std::array<Unit, 5> kSizes{
    {{"TB", 1ull << 40}, {"GB", 1ull << 30}, {"MB", 1ull << 20}, {"KB", 1ull << 10}, {"B", 1}}};
constexpr std::array<Unit, 5> kTimes{
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return upper(x) == upper(y); });
}

template <size_t size>
std::optional<uint64_t> parse_with(std::string_view text, const std::array<Unit, size>& units) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest == text.data()) return std::nullopt;
  std::string_view name(rest, static_cast<size_t>(end - rest));
  while (name.starts_with(' ')) name.remove_prefix(1);
  if (name.empty() && number == 0) return 0;
  for (const Unit& unit : units) {
    if (!same_name(name, unit.name)) continue;
    if (number > std::numeric_limits<int64_t>::max() / unit.factor) return std::nullopt;
    return number * unit.factor;
  }
  return std::nullopt;
}

template <size_t size>
std::string format_with(uint64_t number, const std::array<Unit, size>& units) {
  for (const Unit& unit : units) {
    if (number >= unit.factor && number % unit.factor == 0) {
      return std::to_string(number / unit.factor) + std::string(unit.name);
    }
  }
  return "0";
}

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text) { return parse_with(text, kSizes); }

std::string format_size(uint64_t bytes) { return format_with(bytes, kSizes); }

std::optional<Millis> parse_duration(std::string_view text) {
  const auto number = parse_with(text, kTimes);
  if (!number) return std::nullopt;
  return Millis(static_cast<int64_t>(*number));
}

std::string format_duration(Millis time) {
  return format_with(static_cast<uint64_t>(std::max<int64_t>(time.count(), 0)), kTimes);
}

std::optional<int64_t> parse_integer(std::string_view text) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end) return std::nullopt;
  return number;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

}  // namespace millrace::config
