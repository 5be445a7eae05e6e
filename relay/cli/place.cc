#include "relay/cli/place.h"

#include <algorithm>

#include "relay/admin/status_json.h"

namespace millrace::cli {
namespace {

bool is_number(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<Lsn> lsn_of_position(std::string_view text) {
  const size_t first = text.find(':');
  if (first == std::string_view::npos || !is_number(text.substr(0, first))) return std::nullopt;
  const std::string_view rest = text.substr(first + 1);
  const size_t second = rest.find(':');
  if (second != std::string_view::npos && !is_number(rest.substr(second + 1))) return std::nullopt;
  return parse_lsn(rest.substr(0, second));
}

}  // namespace

Result<Place> parse_place(std::string_view text) {
  if (const auto lsn = parse_lsn(text)) return Place(*lsn);
  if (const auto lsn = lsn_of_position(text)) return Place(*lsn);
  if (const auto time = admin::parse_time(text)) return Place(*time);
  // "…T10:00Z"
  if (text.ends_with('Z') && text.size() == 17) {
    if (const auto time = admin::parse_time(std::string(text.substr(0, 16)) + ":00Z"))
      return Place(*time);
  }
  return fail(ErrorCode::config, "\"" + std::string(text) + "\" is no place in the stream",
              "write an LSN (0/16B3748), a position (1:0/16B3748) or a time (2026-11-20T10:00Z)");
}

bool is_before(Lsn lsn, TimeMicros time, const Place& place) {
  if (const auto* bound = std::get_if<Lsn>(&place)) return lsn < *bound;
  return time < std::get<TimeMicros>(place);
}

}  // namespace millrace::cli
