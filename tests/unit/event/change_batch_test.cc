#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "relay/event/change.h"

namespace millrace::test {
namespace {

TableSchemaPtr table_of(const std::string& name) {
  TableSchema schema;
  schema.schema = "public";
  schema.name = name;
  schema.columns = {{"id", 20, -1, "", "", true}, {"note", 25, -1, "", "", false}};
  return seal_schema(std::move(schema));
}

}  // namespace

TEST_CASE("ChangeBatch: owns a copy of everything that a change points at") {
  ChangeBatch batch;
  {
    std::string id = "4711";
    std::string note(10'000, 'n');
    std::vector<Value> after{{ValueKind::text, id}, {ValueKind::text, note}};
    std::vector<Value> before{{ValueKind::text, id}, {ValueKind::unchanged, {}}};
    std::vector<uint64_t> truncated{1, 2, 3};
    const TableSchemaPtr table = table_of("t");
    Change change;
    change.op = Op::update;
    change.table = table.get();
    change.position = {1, Lsn{9}, 4};
    change.after = after;
    change.before = before;
    change.truncated = truncated;
    batch.add(change, table);
    std::fill(id.begin(), id.end(), 'x');
    std::fill(note.begin(), note.end(), 'x');
    std::fill(after.begin(), after.end(), Value{});
    std::fill(before.begin(), before.end(), Value{});
    std::fill(truncated.begin(), truncated.end(), 0);
  }  // the table's last other reference goes here
  const Change& kept = batch.changes().front();
  CHECK(kept.table->name == "t");
  CHECK(kept.op == Op::update);
  CHECK(kept.position == Position{1, Lsn{9}, 4});
  CHECK(kept.after[0].text == "4711");
  CHECK(kept.after[1].text == std::string(10'000, 'n'));
  CHECK(kept.before[1].kind == ValueKind::unchanged);
  CHECK(std::vector<uint64_t>(kept.truncated.begin(), kept.truncated.end()) ==
        std::vector<uint64_t>{1, 2, 3});
}

TEST_CASE("ChangeBatch: NULL, unchanged and empty stay three things") {
  ChangeBatch batch;
  const TableSchemaPtr table = table_of("t");
  const std::vector<Value> row{
      {ValueKind::null, {}}, {ValueKind::text, ""}, {ValueKind::unchanged, {}}};
  Change change;
  change.table = table.get();
  change.after = row;
  batch.add(change, table);
  CHECK(std::equal(row.begin(), row.end(), batch.changes().front().after.begin()));
}

TEST_CASE("ChangeBatch: keeps order over growth, counts bytes, and is empty after clear") {
  ChangeBatch batch;
  const TableSchemaPtr tables[] = {table_of("a"), table_of("b")};
  const std::string text(100, 'v');
  const std::vector<Value> row{{ValueKind::text, text}, {ValueKind::null, {}}};
  for (int round = 0; round < 3; ++round) {
    size_t last = 0;
    for (uint32_t i = 0; i < 10'000; ++i) {
      Change change;
      change.table = tables[i % 2].get();
      change.position.ordinal = i;
      change.after = row;
      batch.add(change, tables[i % 2]);
      CHECK(batch.bytes() >= last + text.size());
      last = batch.bytes();
    }
    REQUIRE(batch.size() == 10'000);
    for (uint32_t i = 0; i < 10'000; ++i) {
      const Change& change = batch.changes()[i];
      const bool right = change.position.ordinal == i && change.table == tables[i % 2].get() &&
                         change.after[0].text == text;
      if (!right) FAIL("change ", i);
    }
    batch.clear();
    CHECK(batch.empty());
    CHECK(batch.bytes() == 0);
    CHECK(tables[0].use_count() == 1);
  }
}

TEST_CASE("to_string(Op): the words of SQL") {
  CHECK(to_string(Op::insert) == "insert");
  CHECK(to_string(Op::update) == "update");
  CHECK(to_string(Op::remove) == "delete");
  CHECK(to_string(Op::truncate) == "truncate");
}

}  // namespace millrace::test
