// Any bytes as lines of COPY's text format: no crash, a value for every field, views into what was
// given or into the arena, and escaped again they are read as the same.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory_resource>
#include <string>
#include <string_view>
#include <vector>

#include "relay/event/copy_text.h"

namespace {

using namespace millrace;

void require(bool holds) {
  if (!holds) std::abort();
}

std::string escaped(const std::vector<Value>& values) {
  std::string line;
  for (const Value& value : values) {
    if (&value != values.data()) line += '\t';
    if (value.kind == ValueKind::null) {
      line += "\\N";
      continue;
    }
    for (const char c : value.text) {
      switch (c) {
        case '\t':
          line += "\\t";
          break;
        case '\n':
          line += "\\n";
          break;
        case '\\':
          line += "\\\\";
          break;
        default:
          line += c;
      }
    }
  }
  return line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  while (!rest.empty()) {
    const size_t before = rest.size();
    const std::string_view line = take_copy_line(rest);
    require(rest.size() < before);
    std::pmr::monotonic_buffer_resource arena;
    std::vector<Value> values;
    read_copy_line(line, arena, values);
    const auto tabs = std::count(line.begin(), line.end(), '\t');
    require(!values.empty() && values.size() <= static_cast<size_t>(tabs) + 1);
    const std::string again = escaped(values);
    std::vector<Value> second;
    read_copy_line(again, arena, second);
    require(second == values);
  }
  return 0;
}
