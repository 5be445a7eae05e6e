#include "relay/event/copy_text.h"

#include <algorithm>
#include <cstring>

namespace millrace {
namespace {

char unescaped(char c) {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    default:
      return c;
  }
}

Value value_of(std::string_view field, std::pmr::memory_resource& arena) {
  if (field == "\\N") return {};
  if (field.find('\\') == std::string_view::npos) return {ValueKind::text, field};
  auto* out = static_cast<char*>(arena.allocate(field.size(), 1));
  size_t size = 0;
  for (size_t i = 0; i < field.size(); ++i) {
    if (field[i] != '\\') {
      out[size++] = field[i];
    } else if (++i < field.size()) {
      out[size++] = unescaped(field[i]);
    }
  }
  return {ValueKind::text, {out, size}};
}

}  // namespace

// A newline in a value is escaped, so every newline ends a line.
std::string_view take_copy_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

// So is a tab.
void read_copy_line(std::string_view line, std::pmr::memory_resource& arena,
                    std::vector<Value>& values) {
  while (true) {
    const size_t end = line.find('\t');
    values.push_back(value_of(line.substr(0, end), arena));
    if (end == std::string_view::npos) return;
    line.remove_prefix(end + 1);
  }
}

}  // namespace millrace
