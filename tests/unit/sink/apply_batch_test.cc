#include "relay/sink/apply_batch.h"

#include <doctest/doctest.h>

#include "tests/unit/sink/history.h"

using namespace millrace;
using namespace millrace::sink;
using namespace millrace::sink::test;

namespace {

const TableSchemaPtr kTable = make_table("t", {"id", "u"}, 1);

MemoryTarget unique_target() {
  MemoryTarget target;
  target.unique_column = 1;
  return target;
}

}  // namespace

TEST_CASE("apply_batch: one write when nothing conflicts") {
  auto target = unique_target();
  History h;
  for (int i = 0; i < 100; ++i) {
    const std::string id = std::to_string(i);
    h.insert(kTable, {text(id), text(id)});
  }
  REQUIRE(apply_batch(target, h.batch.changes()));
  CHECK(target.writes == 1);
  CHECK(target.tables["t"].size() == 100);
}

TEST_CASE("apply_batch: a swap of a unique value is replayed in source order") {
  auto target = unique_target();
  target.tables["t"] = {{{"1"}, {"1", "x"}}, {{"2"}, {"2", "y"}}};
  History h;
  h.update(kTable, {text("1"), text("tmp")});
  h.update(kTable, {text("2"), text("x")});
  h.update(kTable, {text("1"), text("y")});
  REQUIRE(apply_batch(target, h.batch.changes()));
  CHECK(target.tables["t"] == MemoryTable{{{"1"}, {"1", "y"}}, {{"2"}, {"2", "x"}}});
  CHECK(target.in_order_writes == 3);
}

TEST_CASE("apply_batch: only the piece that conflicts goes change by change") {
  auto target = unique_target();
  target.tables["t"] = {{{"1"}, {"1", "x"}}, {{"2"}, {"2", "y"}}};
  History h;
  for (int i = 100; i < 2100; ++i) {
    const std::string id = std::to_string(i);
    if (i == 700) {
      h.update(kTable, {text("1"), text("tmp")});
      h.update(kTable, {text("2"), text("x")});
      h.update(kTable, {text("1"), text("y")});
    }
    h.insert(kTable, {text(id), text(id)});
  }
  REQUIRE(apply_batch(target, h.batch.changes()));
  CHECK(target.tables["t"].size() == 2002);
  CHECK(target.tables["t"][{"1"}][1] == "y");
  CHECK(target.in_order_writes <= 64);
  CHECK(target.writes < 100);
}

TEST_CASE("apply_batch: a real violation ends as the target's error") {
  auto target = unique_target();
  History h;
  h.insert(kTable, {text("1"), text("x")});
  h.insert(kTable, {text("2"), text("x")});
  const Status status = apply_batch(target, h.batch.changes());
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == ErrorCode::bad_data);
}

TEST_CASE("apply_batch: plans before the conflicting one are not written twice") {
  auto target = unique_target();
  target.tables["t"] = {{{"7"}, {"7", "old"}}};
  const auto other = make_table("o", {"id", "u"}, 1);
  History h;
  h.insert(other, {text("1"), text("1")});
  h.truncate({kTable});
  h.insert(kTable, {text("1"), text("x")});
  h.insert(kTable, {text("2"), text("y")});
  h.update(kTable, {text("1"), text("tmp")});
  h.update(kTable, {text("2"), text("x")});
  h.update(kTable, {text("1"), text("y")});
  REQUIRE(apply_batch(target, h.batch.changes()));
  CHECK(target.tables["t"] == MemoryTable{{{"1"}, {"1", "y"}}, {{"2"}, {"2", "x"}}});
  CHECK(target.tables["o"].size() == 1);
}
