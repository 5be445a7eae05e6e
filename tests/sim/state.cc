#include "tests/sim/state.h"

#include <fmt/format.h>

namespace millrace::sim {

std::string difference(const State& expected, const State& found) {
  const auto text = [](const Values& row) {
    std::string out;
    for (const std::string& value : row) out += (out.empty() ? "" : "|") + value;
    return out;
  };
  for (const auto& [name, table] : expected.keyed) {
    const auto other = found.keyed.find(name);
    const Keyed none;
    const Keyed& there = other == found.keyed.end() ? none : other->second;
    for (const auto& [key, row] : table.rows) {
      const auto match = there.rows.find(key);
      if (match == there.rows.end()) return name + " lacks " + text(row);
      if (match->second != row) return name + " has " + text(match->second) + ", not " + text(row);
    }
    for (const auto& [key, row] : there.rows) {
      if (!table.rows.contains(key)) return name + " still has " + text(row);
    }
  }
  for (const auto& [name, table] : expected.heaps) {
    const auto other = found.heaps.find(name);
    const Heap none;
    const Heap& there = other == found.heaps.end() ? none : other->second;
    for (const auto& [row, count] : table.rows) {
      const auto match = there.rows.find(row);
      const int has = match == there.rows.end() ? 0 : match->second;
      if (has != count)
        return fmt::format("{} has {} {} times, not {}", name, text(row), has, count);
    }
    for (const auto& [row, count] : there.rows) {
      if (!table.rows.contains(row))
        return name + " has " + text(row) + ", which the source has not";
    }
  }
  return {};
}

}  // namespace millrace::sim
