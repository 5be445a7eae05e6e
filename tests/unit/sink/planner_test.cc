#include "relay/sink/planner.h"

#include <algorithm>
#include <chrono>
#include <string>

#include <doctest/doctest.h>

#include "tests/unit/sink/history.h"

using namespace millrace;
using namespace millrace::sink;
using namespace millrace::sink::test;
using Kind = PlannedRow::Kind;

namespace {

std::string show(Row row) {
  std::string out;
  for (const Value& value : row) {
    if (!out.empty()) out += ',';
    out += value.kind == ValueKind::unchanged ? "~"
           : value.kind == ValueKind::null    ? "-"
                                              : std::string(value.text);
  }
  return out;
}

// "t: upsert 1,a; move 1>2,~" with plans divided by " | ".
std::string show(std::span<const BatchPlan> plans) {
  static const char* const names[] = {"upsert", "partial", "move",        "remove",
                                      "append", "replace", "remove_whole"};
  std::string out;
  for (const BatchPlan& plan : plans) {
    if (!out.empty()) out += " | ";
    for (const TableSchema* table : plan.truncate) out += "truncate " + table->name + "; ";
    for (const TablePlan& table : plan.tables) {
      out += table.table->name + ":";
      for (const PlannedRow& row : table.rows) {
        out += std::string(" ") + names[static_cast<int>(row.kind)] + " ";
        if (!row.before.empty()) out += show(row.before) + ">";
        out += show(row.row) + ";";
      }
    }
  }
  return out;
}

std::string plan_of(const History& history) {
  Planner planner;
  const auto plans = planner.plan(history.batch.changes());
  return plans ? show(*plans) : "error: " + plans.error().describe();
}

const TableSchemaPtr kTable = make_table("t", {"id", "v", "big"}, 1);
const TableSchemaPtr kFull = make_table("f", {"id", "v", "big"}, 1, ReplicaIdentity::full);
const TableSchemaPtr kHeap = make_table("h", {"a", "b"}, 0, ReplicaIdentity::full);

}  // namespace

TEST_CASE("plan: the last change of a key wins") {
  History h;
  h.insert(kTable, {text("1"), text("a"), null()});
  h.update(kTable, {text("1"), text("b"), null()});
  h.insert(kTable, {text("2"), text("x"), null()});
  CHECK(plan_of(h) == "t: upsert 1,b,-; upsert 2,x,-;");
}

TEST_CASE("plan: the version is the last change's, a partial update's too") {
  History h;
  h.insert(kTable, {text("1"), text("a"), text("B")});
  h.update(kTable, {text("1"), text("b"), unchanged()});
  Planner planner;
  const auto plans = planner.plan(h.batch.changes());
  REQUIRE(plans);
  CHECK(show(*plans) == "t: upsert 1,b,B;");
  CHECK(plans->front().tables.front().rows.front().position.ordinal == 1);
  CHECK(plans->front().first_change == 0);
  CHECK(plans->front().change_count == 2);
}

TEST_CASE("plan: unchanged values of several updates stay unchanged together") {
  History h;
  h.update(kTable, {text("1"), text("a"), unchanged()});
  h.update(kTable, {text("1"), text("b"), unchanged()});
  CHECK(plan_of(h) == "t: partial 1,b,~;");
  h.update(kTable, {text("1"), text("b"), text("new")});
  h.update(kTable, {text("1"), text("c"), unchanged()});
  CHECK(plan_of(h) == "t: upsert 1,c,new;");
}

TEST_CASE("plan: insert and delete is a remove, delete and insert an upsert") {
  History h;
  h.insert(kTable, {text("1"), text("a"), null()});
  h.remove(kTable, {text("1"), null(), null()});
  h.remove(kTable, {text("2"), null(), null()});
  h.insert(kTable, {text("2"), text("b"), null()});
  CHECK(plan_of(h) == "t: remove 1,-,-; upsert 2,b,-;");
}

TEST_CASE("plan: a key change moves the target's row, through a chain to its last key") {
  History h;
  h.update(kTable, {text("2"), text("a"), unchanged()}, {text("1"), null(), null()});
  CHECK(plan_of(h) == "t: remove 1,-,-; move 1,-,->2,a,~;");
  h.update(kTable, {text("3"), text("b"), unchanged()}, {text("2"), null(), null()});
  CHECK(plan_of(h) == "t: remove 1,-,-; remove 2,-,-; move 1,-,->3,b,~;");
  h.insert(kTable, {text("1"), text("new"), null()});
  CHECK(plan_of(h) == "t: upsert 1,new,-; remove 2,-,-; move 1,-,->3,b,~;");
  h.remove(kTable, {text("3"), null(), null()});
  CHECK(plan_of(h) == "t: upsert 1,new,-; remove 2,-,-; remove 3,-,-;");
}

TEST_CASE("plan: a key change of a row that the batch inserted is an upsert and a remove") {
  History h;
  h.insert(kTable, {text("1"), text("a"), text("B")});
  h.update(kTable, {text("2"), text("b"), unchanged()}, {text("1"), null(), null()});
  CHECK(plan_of(h) == "t: remove 1,-,-; upsert 2,b,B;");
}

TEST_CASE("plan: there and back is an update in place") {
  History h;
  h.update(kTable, {text("2"), text("a"), unchanged()}, {text("1"), null(), null()});
  h.update(kTable, {text("1"), text("b"), unchanged()}, {text("2"), null(), null()});
  CHECK(plan_of(h) == "t: partial 1,b,~; remove 2,-,-;");
}

TEST_CASE("plan: a swap through a temporary key is several plans when values are unknown") {
  History h;
  h.update(kTable, {text("9"), text("a"), unchanged()}, {text("1"), null(), null()});
  h.update(kTable, {text("1"), text("b"), unchanged()}, {text("2"), null(), null()});
  h.update(kTable, {text("2"), text("a"), unchanged()}, {text("9"), null(), null()});
  CHECK(plan_of(h) ==
        "t: remove 1,-,-; move 1,-,->9,a,~; | t: remove 2,-,-; move 2,-,->1,b,~; | "
        "t: remove 9,-,-; move 9,-,->2,a,~;");
}

TEST_CASE("plan: a swap of full rows is one plan") {
  History h;
  h.update(kTable, {text("9"), text("a"), text("A")}, {text("1"), null(), null()});
  h.update(kTable, {text("1"), text("b"), text("B")}, {text("2"), null(), null()});
  h.update(kTable, {text("2"), text("a"), text("A")}, {text("9"), null(), null()});
  CHECK(plan_of(h) == "t: upsert 1,b,B; remove 9,-,-; upsert 2,a,A;");
}

TEST_CASE("plan: REPLICA IDENTITY FULL fills unchanged values from the old row") {
  History h;
  h.update(kFull, {text("1"), text("a"), unchanged()}, {text("1"), text("z"), text("OLD")});
  h.update(kFull, {text("3"), text("a"), unchanged()}, {text("2"), text("z"), text("OLD2")});
  CHECK(plan_of(h) == "f: upsert 1,a,OLD; remove 2,z,OLD2; move 2,z,OLD2>3,a,OLD2;");
}

TEST_CASE("plan: an unchanged key value comes from the old key") {
  const auto table = make_table("k", {"k1", "k2", "v"}, 2);
  History h;
  h.update(table, {unchanged(), text("b"), text("x")}, {text("long"), text("a"), null()});
  CHECK(plan_of(h) == "k: remove long,a,-; move long,a,->long,b,x;");
}

TEST_CASE("plan: a truncate starts a plan and drops what it wipes") {
  History h;
  h.insert(kTable, {text("1"), text("a"), null()});
  h.insert(kFull, {text("1"), text("a"), null()});
  h.insert(kHeap, {text("1"), text("a")});
  h.truncate({kTable, kHeap}, true);
  h.insert(kTable, {text("2"), text("b"), null()});
  Planner planner;
  const auto plans = planner.plan(h.batch.changes());
  REQUIRE(plans);
  CHECK(show(*plans) == "f: upsert 1,a,-; | truncate t; truncate h; t: upsert 2,b,-;");
  CHECK((*plans)[1].restart_identity);
  CHECK((*plans)[1].first_change == 3);
  CHECK((*plans)[1].change_count == 3);
}

TEST_CASE("plan: two truncate statements are two plans") {
  History h;
  h.truncate({kTable});
  h.truncate({kFull});
  CHECK(plan_of(h) == "truncate t;  | truncate f; ");
}

TEST_CASE("plan: rows without a key stay in order") {
  History h;
  h.insert(kHeap, {text("1"), text("a")});
  h.insert(kHeap, {text("1"), text("a")});
  h.update(kHeap, {text("2"), unchanged()}, {text("1"), text("a")});
  h.remove(kHeap, {text("1"), text("a")});
  CHECK(plan_of(h) == "h: append 1,a; append 1,a; replace 1,a>2,a; remove_whole 1,a;");
}

TEST_CASE("plan: an update of a table without any identity is an error that names the table") {
  const auto heap = make_table("h2", {"a"}, 0);
  History h;
  h.update(heap, {text("1")});
  CHECK(plan_of(h).find("REPLICA IDENTITY FULL") != std::string::npos);
  CHECK(plan_of(h).find("public.h2") != std::string::npos);
}

TEST_CASE("plan: a table whose shape changes goes to the next plan") {
  const auto wider = make_table("t", {"id", "v", "big", "more"}, 1);
  History h;
  h.insert(kTable, {text("1"), text("a"), null()});
  h.update(wider, {text("1"), text("b"), null(), text("m")});
  CHECK(plan_of(h) == "t: upsert 1,a,-; | t: upsert 1,b,-,m;");
}

TEST_CASE("plan: a shape that was sent again is the same table") {
  const auto again = make_table("t", {"id", "v", "big"}, 1);
  History h;
  h.insert(kTable, {text("1"), text("a"), null()});
  h.update(again, {text("1"), text("b"), null()});
  CHECK(plan_of(h) == "t: upsert 1,b,-;");
}

TEST_CASE("plan: keys that join to the same bytes are different keys") {
  const auto table = make_table("k", {"k1", "k2"}, 2);
  History h;
  h.insert(table, {text("ab"), text("c")});
  h.insert(table, {text("a"), text("bc")});
  CHECK(plan_of(h) == "k: upsert ab,c; upsert a,bc;");
}

TEST_CASE("plan: a row costs well under a microsecond") {
  History h;
  std::vector<std::string> ids;
  for (int i = 0; i < 10000; ++i) ids.push_back(std::to_string(i * 7919 % 100003));
  for (const auto& id : ids) h.insert(kTable, {text(id), text("value"), text("more")});
  Planner planner;
  REQUIRE(planner.plan(h.batch.changes()));
  double row_ns = 1e9;  // of the best round: others may have lost the processor
  for (int i = 0; i < 20; ++i) {
    const auto start = std::chrono::steady_clock::now();
    REQUIRE(planner.plan(h.batch.changes()));
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    row_ns = std::min(row_ns, took.count() / 10000);
  }
  MESSAGE("ns per row: " << row_ns);
  CHECK(row_ns < 20000);  // generous: sanitizers and busy machines
}
