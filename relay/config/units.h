// Units: sizes ("64MB") and times ("500ms") as people write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "relay/base/clock.h"

namespace millrace::config {

// Digits and one of B, KB, MB, GB, TB (powers of 1024), any case; nullopt for anything else.
std::optional<uint64_t> parse_size(std::string_view text);
std::string format_size(uint64_t bytes);  // in the largest unit that divides it

// Digits and one of ms, s, m, h, d; a lone 0 needs no unit.
std::optional<Millis> parse_duration(std::string_view text);
std::string format_duration(Millis time);

std::optional<int64_t> parse_integer(std::string_view text);

// Levenshtein distance; for names, so quadratic is fine.
size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace millrace::config
