#include "relay/base/ids.h"

#include <charconv>
#include <ctime>

#include <fmt/format.h>

namespace millrace {

std::string to_string(Lsn lsn) {
  return fmt::format("{:X}/{:X}", lsn.value >> 32, lsn.value & 0xFFFFFFFFU);
}

std::optional<Lsn> parse_lsn(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto half = [](std::string_view digits) -> std::optional<uint32_t> {
    uint32_t value = 0;
    if (digits.empty() || digits.size() > 8) return std::nullopt;
    auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (ec != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    return value;
  };
  const auto high = half(text.substr(0, slash));
  const auto low = half(text.substr(slash + 1));
  if (!high || !low) return std::nullopt;
  return Lsn{(static_cast<uint64_t>(*high) << 32) | *low};
}

std::string to_string(TimeMicros time) {
  int64_t seconds = time.value / 1'000'000;
  int64_t micros = time.value % 1'000'000;
  if (micros < 0) {
    micros += 1'000'000;
    --seconds;
  }
  const std::time_t clock = seconds;
  std::tm parts{};
  gmtime_r(&clock, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     micros);
}

std::string to_string(const Position& position) {
  return fmt::format("{}:{}:{}", position.timeline, to_string(position.commit_lsn),
                     position.ordinal);
}

std::string to_string(const Watermark& watermark) {
  return fmt::format("{}:{}", watermark.timeline, to_string(watermark.end_lsn));
}

Version make_version(uint32_t epoch, Lsn commit_lsn, uint32_t ordinal) {
  Version version;
  auto put = [&version](size_t at, uint64_t value, size_t width) {
    for (size_t i = 0; i < width; ++i) {
      version.bytes[at + i] = static_cast<uint8_t>(value >> (8 * (width - 1 - i)));
    }
  };
  put(0, epoch, 4);
  put(4, commit_lsn.value, 8);
  put(12, ordinal, 4);
  return version;
}

std::string to_hex(const Version& version) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(32);
  for (const uint8_t byte : version.bytes) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

}  // namespace millrace
