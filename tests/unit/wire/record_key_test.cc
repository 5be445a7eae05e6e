#include "relay/wire/record_key.h"

#include <set>

#include <doctest/doctest.h>

#include "tests/unit/wire/samples.h"

namespace millrace::test {
namespace {

std::string key_of(const Change& change, bool before = false) {
  std::string out = "left over";
  wire::record_key(change, before, out);
  return out;
}

std::string key_of(Value id, Value branch) {
  const std::vector<Value> row{id, branch, text("note"), null(), null()};
  Change change = change_of(Op::insert);
  change.after = row;
  return key_of(change);
}

}  // namespace

TEST_CASE("record_key: golden bytes") {
  CHECK(key_of(sample_update()) == std::string("\x03"
                                               "2\x03"
                                               "5"));
  CHECK(key_of(sample_update(), true) == std::string("\x03"
                                                     "1\x03"
                                                     "5"));
  CHECK(key_of(text(""), null()) == std::string("\x02\x00", 2));
}

TEST_CASE("record_key: insert, update and delete of one row agree") {
  Change update = sample_update();
  update.before = {};
  CHECK(key_of(update) == key_of(sample_remove()));
  CHECK(key_of(update, true) == key_of(update));
  CHECK(key_of(sample_remove(), true) == key_of(sample_remove(), false));
}

TEST_CASE("record_key: injective where joining the values would not be") {
  const std::string longer(126, 'x');
  const std::vector<std::pair<Value, Value>> keys{
      {text("a"), text("bc")},  {text("ab"), text("c")},
      {text(""), text("abc")},  {text(""), null()},
      {null(), text("")},       {null(), null()},
      {text(""), text("")},     {unchanged(), text("")},
      {text("\x02"), text("")}, {text("n"), text("")},
      {text(longer), text("")}, {text(std::string_view("\0", 1)), text("")}};
  std::set<std::string> seen;
  for (const auto& [id, branch] : keys) seen.insert(key_of(id, branch));
  CHECK(seen.size() == keys.size());
}

TEST_CASE("record_key: a TOASTed key value is taken from the old row") {
  const std::vector<Value> after{unchanged(), text("9"), null(), null(), null()};
  const std::vector<Value> before{text("1"), text("5"), null(), null(), null()};
  Change change = change_of(Op::update);
  change.after = after;
  change.before = before;
  CHECK(key_of(change) == key_of(text("1"), text("9")));
}

TEST_CASE("record_key: other columns do not matter, and tables without a key have none") {
  Change change = sample_insert();
  std::vector<Value> row(change.after.begin(), change.after.end());
  row[2] = text("something else");
  const std::string before = key_of(change);
  change.after = row;
  CHECK(key_of(change) == before);

  TableSchema schema = *accounts_table();
  for (Column& column : schema.columns) column.in_key = false;
  const TableSchemaPtr keyless = seal_schema(std::move(schema));
  change.table = keyless.get();
  CHECK(key_of(change).empty());
  CHECK(key_of(sample_truncate()).empty());
}

}  // namespace millrace::test
