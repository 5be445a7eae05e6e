// State: what the tables hold, of the source after each transaction and of the target after each
// commit.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace millrace::sim {

using Values = std::vector<std::string>;
inline const std::string kNull = "\x01";

struct Keyed {
  std::map<Values, Values> rows;  // key values -> all values
  bool operator==(const Keyed&) const = default;
};
struct Heap {
  std::map<Values, int> rows;  // how often each stands there
  bool operator==(const Heap&) const = default;
};

struct State {
  std::map<std::string, Keyed> keyed;
  std::map<std::string, Heap> heaps;
  bool operator==(const State&) const = default;
};

// The first difference, in words; empty when they are the same.
std::string difference(const State& expected, const State& found);

}  // namespace millrace::sim
