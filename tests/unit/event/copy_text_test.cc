// Lines as COPY … TO writes them; that a server agrees is tests/integration/target's business.
#include "relay/event/copy_text.h"

#include <doctest/doctest.h>

using namespace millrace;

namespace {

std::vector<std::string> fields(std::string_view line) {
  std::pmr::monotonic_buffer_resource arena;
  std::vector<Value> values;
  read_copy_line(line, arena, values);
  std::vector<std::string> out;
  for (const Value& value : values) {
    out.push_back(value.kind == ValueKind::null ? "NULL" : "=" + std::string(value.text));
  }
  return out;
}

}  // namespace

TEST_CASE("read_copy_line: NULL, empty and the letters of NULL are three things") {
  CHECK(fields("\\N\t\t\\\\N\tN") == std::vector<std::string>{"NULL", "=", "=\\N", "=N"});
  CHECK(fields("") == std::vector<std::string>{"="});
  CHECK(fields("\t") == std::vector<std::string>{"=", "="});
}

TEST_CASE("read_copy_line: escapes become their characters, everything else is itself") {
  CHECK(fields("a\\tb\\nc\\\\d\\re\\bf\\fg\\vh") ==
        std::vector<std::string>{"=a\tb\nc\\d\re\bf\fg\vh"});
  CHECK(fields("\\\\x00ff\t\\.\t\\") == std::vector<std::string>{"=\\x00ff", "=.", "="});
  CHECK(fields("žluťoučký\tkůň") == std::vector<std::string>{"=žluťoučký", "=kůň"});
}

TEST_CASE("take_copy_line: one line after the other, the last with or without its newline") {
  std::string_view text = "1\ta\n\n2\tb";
  CHECK(take_copy_line(text) == "1\ta");
  CHECK(take_copy_line(text) == "");
  CHECK(take_copy_line(text) == "2\tb");
  CHECK(text.empty());
  text = "1\n";
  CHECK(take_copy_line(text) == "1");
  CHECK(text.empty());
}
