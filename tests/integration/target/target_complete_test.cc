// A partial update may be the first that the target hears of a row: it is completed from the
// source.
#include <doctest/doctest.h>

#include "tests/integration/target/history_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

constexpr Lsn kFloor{5000};

struct BigValues : HistoryWorld {
  TableSchemaPtr t;
  explicit BigValues(sink::TableMapping mapping = {}) {
    db().run(
        "CREATE TABLE src.t (id int PRIMARY KEY, n int, big text); CREATE TABLE dst.t (id int "
        "PRIMARY KEY, n int, big text)");
    t = add("t", std::move(mapping));
    open();
  }
  Table all() { return db().run("SELECT id, n, big FROM dst.t ORDER BY id"); }
};

std::vector<Value> partial(const char* id, const char* n) {
  return {text(id), text(n), unchanged()};
}

}  // namespace

TEST_CASE("complete: a partial update of a row that was not copied yet is made whole") {
  BigValues world;
  // The source has gone on to n = 3 by now: the stream will say so.
  world.db().run("INSERT INTO src.t VALUES (1, 3, 'big\t\\N\n'), (2, 0, NULL), (3, 0, 'x')");
  const int64_t id = world.run_job(world.t, kFloor);
  const sink::Chunk chunk = world.read(id, world.t, kFloor);
  History h(6000), later(7000);
  h.update(world.t, partial("1", "1"));
  h.update(world.t, partial("2", "2"));
  world.must_apply(h);
  CHECK(world.all() == Table{{"1", "1", "big\t\\N\n"}, {"2", "2", "\\N"}});
  CHECK(world.version("t", "id = 2") == "\\x00000001000000000000177000000001");
  CHECK(world.source.asked == 2);
  CHECK(world.write(chunk));
  later.update(world.t, partial("1", "3"));
  world.must_apply(later);
  CHECK(world.source.asked == 2);
  CHECK(world.all() == Table{{"1", "3", "big\t\\N\n"}, {"2", "2", "\\N"}, {"3", "0", "x"}});
}

TEST_CASE("complete: rows that are there are not asked for") {
  BigValues world;
  world.db().run("INSERT INTO src.t VALUES (1, 0, 'a'), (2, 0, 'b')");
  const int64_t id = world.run_job(world.t, kFloor);
  CHECK(world.write(world.read(id, world.t, kFloor, "id = 1")));
  History h(6000);
  h.update(world.t, partial("1", "5"));
  h.update(world.t, partial("2", "6"));
  world.must_apply(h);
  CHECK(world.source.asked == 1);
  CHECK(world.all() == Table{{"1", "5", "a"}, {"2", "6", "b"}});
}

TEST_CASE("complete: what the source has no more is left out, and its delete leaves a tombstone") {
  BigValues world;
  world.db().run("INSERT INTO src.t VALUES (1, 0, 'a')");
  const int64_t id = world.run_job(world.t, kFloor);
  const sink::Chunk chunk = world.read(id, world.t, kFloor);
  world.db().run("DELETE FROM src.t");
  History h(6000), later(7000);
  h.update(world.t, partial("1", "5"));
  world.must_apply(h);
  CHECK(world.all().empty());
  later.remove(world.t, {text("1"), null(), null()});
  world.must_apply(later);
  CHECK(world.write(chunk));
  CHECK(world.all().empty());
}

TEST_CASE("complete: a key change with unknown values") {
  BigValues world;
  world.db().run("INSERT INTO src.t VALUES (1, 0, 'a'), (2, 0, 'b')");
  const int64_t id = world.run_job(world.t, kFloor);
  const sink::Chunk chunk = world.read(id, world.t, kFloor);
  world.db().run("UPDATE src.t SET id = 11 WHERE id = 1; UPDATE src.t SET id = 22 WHERE id = 2");
  History h(6000), later(7000);
  h.update(world.t, partial("11", "1"), {text("1"), null(), null()});
  // 2 went on from 12 to 22 meanwhile.
  h.update(world.t, partial("12", "2"), {text("2"), null(), null()});
  world.must_apply(h);
  CHECK(world.all() == Table{{"11", "1", "a"}});
  CHECK(world.write(chunk));
  CHECK(world.all() == Table{{"11", "1", "a"}});
  later.update(world.t, partial("22", "3"), {text("12"), null(), null()});
  world.must_apply(later);
  CHECK(world.all() == Table{{"11", "1", "a"}, {"22", "3", "b"}});
}

TEST_CASE("complete: the filter and expressions see the whole row") {
  sink::TableMapping mapping;
  mapping.where = "big <> 'hidden'";
  mapping.expressions = {{"size", "length(big)"}};
  HistoryWorld world;
  world.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY, n int, big text); CREATE TABLE dst.t (id int "
      "PRIMARY KEY, n int, big text, size int); INSERT INTO src.t VALUES (1, 0, 'four'), (2, 0, "
      "'hidden')");
  const TableSchemaPtr t = world.add("t", mapping);
  world.open();
  world.run_job(t, kFloor);
  History h(6000);
  h.update(t, partial("1", "1"));
  h.update(t, partial("2", "2"));
  world.must_apply(h);
  CHECK(world.db().run("SELECT id, n, big, size FROM dst.t") == Table{{"1", "1", "four", "4"}});
}

TEST_CASE("complete: a row that a replacing job has still to reach is taken whole") {
  BigValues world;
  world.db().run(
      "INSERT INTO src.t VALUES (1, 1, 'right'), (2, 2, 'right'), (3, 3, 'right'); INSERT INTO "
      "dst.t VALUES (1, 0, 'wrong', NULL), (2, 0, 'wrong', "
      "'\\x00000001000000000000138700000000'), (3, 0, 'newer', "
      "'\\x00000001000000000000138800000000')");
  const int64_t id = world.run_job(world.t, kFloor, true);
  const sink::Chunk chunk = world.read(id, world.t, kFloor);
  History h(6000);
  h.update(world.t, partial("1", "1"));
  h.update(world.t, partial("2", "2"));
  h.update(world.t, partial("3", "3"));
  world.must_apply(h);
  CHECK(world.source.asked == 2);
  CHECK(world.write(chunk));
  CHECK(world.all() == Table{{"1", "1", "right"}, {"2", "2", "right"}, {"3", "3", "newer"}});
}

TEST_CASE("complete: a change from before the floor needs no whole row, its chunk is to come") {
  BigValues world;
  world.db().run(
      "INSERT INTO src.t VALUES (1, 1, 'right'); INSERT INTO dst.t VALUES (1, 0, "
      "'wrong')");
  const int64_t id = world.run_job(world.t, kFloor, true);
  History h(kFloor.value - 100);
  h.update(world.t, partial("1", "1"));
  world.must_apply(h);
  CHECK(world.source.asked == 0);
  CHECK(world.write(world.read(id, world.t, kFloor)));
  CHECK(world.all() == Table{{"1", "1", "right"}});
}

TEST_CASE("complete: no source, no transaction; and no invented row where nothing is copied") {
  BigValues world;
  world.db().run("INSERT INTO src.t VALUES (1, 0, 'a')");
  const int64_t id = world.run_job(world.t, kFloor);
  History h(6000);
  h.update(world.t, partial("1", "5"));
  world.source.away = true;
  CHECK(contains(world.apply_error(h), "retryable: the source is away"));
  world.source.away = false;
  const sink::JobState running[] = {sink::JobState::running};
  REQUIRE(world.box().set_state(id, running, sink::JobState::cancelled, ""));
  world.watch();
  CHECK(contains(world.apply_error(h), "the target has no such row"));
  CHECK(world.all().empty());
}

TEST_CASE("complete: one change alone, in the order of the source") {
  BigValues world;
  world.db().run(
      "INSERT INTO src.t VALUES (1, 0, 'a'), (2, 0, 'b'); CREATE UNIQUE INDEX ON dst.t (n)");
  world.run_job(world.t, kFloor);
  History first(5500), h(6000);
  first.insert(world.t, {text("8"), text("80"), text("y")});
  first.insert(world.t, {text("9"), text("90"), text("z")});
  world.must_apply(first);
  // In bulk 8 would meet 9's old n: the changes are written one by one.
  h.update(world.t, {text("8"), text("81"), text("y")});
  h.update(world.t, {text("9"), text("80"), text("z")});
  h.update(world.t, partial("1", "7"));
  h.update(world.t, {text("8"), text("90"), text("y")});
  world.must_apply(h);
  CHECK(world.all() == Table{{"1", "7", "a"}, {"8", "90", "y"}, {"9", "80", "z"}});
}
