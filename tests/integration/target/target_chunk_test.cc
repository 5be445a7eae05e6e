// Rows of history beside the stream: whatever comes first, the newer one stands. Each race is an
// order of calls here, because chunks and the stream's transactions take turns.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "relay/base/mutation.h"
#include "tests/integration/target/history_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

constexpr Lsn kFloor{5000};

struct OneTable : HistoryWorld {
  TableSchemaPtr t;
  explicit OneTable(const std::string& columns = "id int PRIMARY KEY, v text, n int",
                    sink::TableMapping mapping = {}) {
    db().run("CREATE TABLE src.t (" + columns + "); CREATE TABLE dst.t (" + columns + ")");
    t = add("t", mapping);
    open();
  }
  std::string tombstones() { return db().one("SELECT count(*) FROM millrace.tombstone"); }
  std::string value(int id) {
    const Table found = db().run("SELECT v FROM dst.t WHERE id = " + std::to_string(id));
    return found.empty() ? "none" : found.front().front();
  }
};

std::vector<Value> row(const char* id, const char* v) { return {text(id), text(v), text("0")}; }
std::vector<Value> key(const char* id) { return {text(id), null(), null()}; }

}  // namespace

TEST_CASE("chunk: a streamed row stands, whether it came before or comes after") {
  OneTable world;
  world.db().run("INSERT INTO src.t VALUES (1, 'old', 0), (2, 'old', 0), (3, 'old', 0)");
  const int64_t id = world.run_job(world.t, kFloor);
  const sink::Chunk chunk = world.read(id, world.t, kFloor);
  History before(6000), later(7000);
  before.update(world.t, row("1", "new"));
  world.must_apply(before);
  CHECK(world.write(chunk));
  later.update(world.t, row("2", "newer"));
  world.must_apply(later);
  CHECK(world.value(1) == "new");
  CHECK(world.value(2) == "newer");
  CHECK(world.value(3) == "old");
}

TEST_CASE("chunk: a change whose commit begins exactly at the floor is newer") {
  OneTable world;
  world.db().run("INSERT INTO src.t VALUES (1, 'read', 0), (2, 'read', 0)");
  const int64_t id = world.run_job(world.t, kFloor);
  const sink::Chunk chunk = world.read(id, world.t, kFloor);
  History at(kFloor.value);
  at.update(world.t, row("1", "streamed"));
  at.remove(world.t, key("2"));
  world.must_apply(at);
  CHECK(world.write(chunk));
  CHECK(world.value(1) == "streamed");
  CHECK(world.value(2) == "none");
  OneTable other;
  other.db().run("INSERT INTO src.t VALUES (1, 'read', 0), (2, 'read', 0)");
  const int64_t again = other.run_job(other.t, kFloor);
  CHECK(other.write(other.read(again, other.t, kFloor)));
  History after_it(kFloor.value);
  after_it.update(other.t, row("1", "streamed"));
  after_it.remove(other.t, key("2"));
  other.must_apply(after_it);
  CHECK(other.value(1) == "streamed");
  CHECK(other.value(2) == "none");
}

TEST_CASE("chunk: what was deleted does not come back, whether a row was there or not") {
  OneTable world;
  world.db().run("INSERT INTO src.t VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0), (4, 'd', 0)");
  const int64_t id = world.run_job(world.t, kFloor);
  const sink::Chunk chunk = world.read(id, world.t, kFloor);
  History h(6000);
  h.remove(world.t, key("1"));
  h.insert(world.t, row("2", "b2"));
  h.commit();
  h.remove(world.t, key("2"));
  h.commit();
  h.insert(world.t, row("5", "e"));
  h.remove(world.t, key("5"));
  world.must_apply(h);
  CHECK(world.tombstones() == "3");
  CHECK(world.write(chunk));
  CHECK(world.db().run("SELECT id FROM dst.t ORDER BY id") == Table{{"3"}, {"4"}});
}

TEST_CASE("chunk: without tombstones a deleted row would come back") {
  OneTable world;
  world.db().run("INSERT INTO src.t VALUES (1, 'a', 0)");
  const int64_t id = world.run_job(world.t, kFloor);
  const sink::Chunk chunk = world.read(id, world.t, kFloor);
  History h(6000);
  h.remove(world.t, key("1"));
  set_mutations("no_tombstones");
  world.must_apply(h);
  set_mutations("");
  CHECK(world.write(chunk));
  CHECK(world.value(1) == "a");
}

TEST_CASE("chunk: a key that was deleted and inserted again keeps the new row") {
  OneTable world;
  world.db().run("INSERT INTO src.t VALUES (1, 'old', 0)");
  const int64_t id = world.run_job(world.t, kFloor, true);
  const sink::Chunk chunk = world.read(id, world.t, kFloor);
  History h(6000), again(7000);
  h.remove(world.t, key("1"));
  world.must_apply(h);
  again.insert(world.t, row("1", "reborn"));
  world.must_apply(again);
  CHECK(world.write(chunk));
  CHECK(world.value(1) == "reborn");
}

TEST_CASE("chunk: a tombstone from before the floor forbids nothing") {
  OneTable world;
  world.db().run("INSERT INTO src.t VALUES (1, 'reborn', 0)");
  const int64_t id = world.run_job(world.t, kFloor);
  History h(kFloor.value - 1);
  h.remove(world.t, key("1"));
  world.must_apply(h);
  CHECK(world.tombstones() == "1");
  CHECK(world.write(world.read(id, world.t, kFloor)));
  CHECK(world.value(1) == "reborn");
}

TEST_CASE("chunk: a key change leaves a tombstone under the old key") {
  OneTable world;
  world.db().run("INSERT INTO src.t VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0)");
  const int64_t id = world.run_job(world.t, kFloor);
  const sink::Chunk chunk = world.read(id, world.t, kFloor);
  History h(6000);
  h.update(world.t, row("11", "a"), key("1"));
  h.update(world.t, row("12", "b"), key("2"));
  h.update(world.t, row("22", "b"), key("12"));
  world.must_apply(h);
  CHECK(world.write(chunk));
  CHECK(world.db().run("SELECT id FROM dst.t ORDER BY id") == Table{{"3"}, {"11"}, {"22"}});
}

TEST_CASE("chunk: a row that the filter no longer lets through does not come back") {
  sink::TableMapping mapping;
  mapping.where = "n < 10";
  OneTable world("id int PRIMARY KEY, v text, n int", mapping);
  world.db().run("INSERT INTO src.t VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 50)");
  const int64_t id = world.run_job(world.t, kFloor);
  const sink::Chunk chunk = world.read(id, world.t, kFloor);
  History h(6000);
  h.update(world.t, {text("1"), text("a"), text("99")});
  world.must_apply(h);
  CHECK(world.write(chunk));
  CHECK(world.db().run("SELECT id FROM dst.t") == Table{{"2"}});
}

TEST_CASE("chunk: with the filter and `replace`, an old row that it keeps out goes") {
  sink::TableMapping mapping;
  mapping.where = "n < 10";
  OneTable world("id int PRIMARY KEY, v text, n int", mapping);
  world.db().run(
      "INSERT INTO src.t VALUES (1, 'a', 50), (2, 'b', 1); INSERT INTO dst.t VALUES (1, 'wrong', "
      "0), (2, 'wrong', 0)");
  const int64_t id = world.run_job(world.t, kFloor, true);
  CHECK(world.write(world.read(id, world.t, kFloor)));
  CHECK(world.db().run("SELECT id, v FROM dst.t") == Table{{"2", "b"}});
}

TEST_CASE("chunk: rows that stand there are kept, or replaced when they are older") {
  OneTable world;
  world.db().run("INSERT INTO src.t SELECT i, 'source', 0 FROM generate_series(1, 4) AS i");
  const auto fill = [&world] {
    world.db().run(
        "TRUNCATE dst.t; INSERT INTO dst.t VALUES (1, 'unknown', 0, NULL), (2, 'older', 0, "
        "'\\x0000000100000000000013870000000a'), (3, 'at the floor', 0, "
        "'\\x00000001000000000000138800000000')");
  };
  fill();
  const int64_t keep = world.run_job(world.t, kFloor);
  sink::Chunk chunk = world.read(keep, world.t, kFloor);
  chunk.last = true;
  CHECK(world.write(chunk));
  CHECK(world.db().run("SELECT v FROM dst.t ORDER BY id") ==
        Table{{"unknown"}, {"older"}, {"at the floor"}, {"source"}});
  CHECK(world.version("t", "id = 1") == "\\N");
  fill();
  const int64_t replace = world.run_job(world.t, kFloor, true);
  chunk = world.read(replace, world.t, kFloor);
  CHECK(world.write(chunk));
  CHECK(world.db().run("SELECT v FROM dst.t ORDER BY id") ==
        Table{{"source"}, {"source"}, {"at the floor"}, {"source"}});
  CHECK(world.version("t", "id = 2") == "\\x000000010000000000001387ffffffff");
  set_mutations("no_guard");
  REQUIRE(world.target->applied());
  world.watch();
  CHECK(world.write(chunk));
  set_mutations("");
  CHECK(world.value(3) == "source");
}

TEST_CASE("chunk: keys that the source does not have go, unless they are newer") {
  OneTable world;
  world.db().run(
      "INSERT INTO src.t VALUES (1, 'right', 0); INSERT INTO dst.t VALUES (1, 'wrong', 0, NULL), "
      "(2, 'extra', 0, NULL), (3, 'extra', 0, '\\x00000001000000000000138700000000'), (4, 'newer', "
      "0, '\\x00000001000000000000138800000000'), (5, 'not asked for', 0, NULL)");
  const int64_t id = world.run_job(world.t, kFloor, true, true);
  sink::Chunk chunk = world.read(id, world.t, kFloor, "id = 1");
  chunk.absent = {{"2"}, {"3"}, {"4"}, {"77"}};
  chunk.last = true;
  CHECK(world.write(chunk));
  CHECK(world.db().run("SELECT id, v FROM dst.t ORDER BY id") ==
        Table{{"1", "right"}, {"4", "newer"}, {"5", "not asked for"}});
  CHECK(world.job(id).rows_done == 5);
  OneTable keeping;
  keeping.db().run("INSERT INTO dst.t VALUES (2, 'extra', 0)");
  const int64_t other = keeping.run_job(keeping.t, kFloor, true, false);
  sink::Chunk only_absent = keeping.read(other, keeping.t, kFloor);
  only_absent.absent = {{"2"}};
  CHECK(keeping.write(only_absent));
  CHECK(keeping.value(2) == "extra");
}

TEST_CASE("chunk: TRUNCATE sends the job back, and chunks that were read before are void") {
  OneTable world;
  world.db().run("INSERT INTO src.t VALUES (1, 'a', 0), (2, 'b', 0)");
  const int64_t id = world.run_job(world.t, kFloor);
  CHECK(world.write(world.read(id, world.t, kFloor, "id = 1")));
  const sink::Chunk chunk = world.read(id, world.t, kFloor, "id = 2");
  History h(6000);
  h.remove(world.t, key("7"));
  h.truncate({world.t});
  h.insert(world.t, row("9", "new"));
  world.must_apply(h);
  CHECK(world.job(id).restarts == 1);
  CHECK(world.job(id).rows_done == 0);
  CHECK_FALSE(world.job(id).done_to);
  CHECK(world.job(id).state == sink::JobState::running);
  CHECK(world.tombstones() == "0");
  CHECK_FALSE(world.write(chunk));
  CHECK(world.db().run("SELECT id FROM dst.t") == Table{{"9"}});
  world.db().run("TRUNCATE src.t; INSERT INTO src.t VALUES (9, 'new', 0), (10, 'unseen', 0)");
  CHECK(world.write(world.read(id, world.t, kFloor)));
  CHECK(world.db().run("SELECT id FROM dst.t ORDER BY id") == Table{{"9"}, {"10"}});
}

TEST_CASE("chunk: a TRUNCATE that comes behind the chunk takes it away") {
  OneTable world;
  world.db().run("INSERT INTO src.t VALUES (1, 'a', 0)");
  const int64_t id = world.run_job(world.t, kFloor);
  CHECK(world.write(world.read(id, world.t, kFloor)));
  History h(6000);
  h.truncate({world.t});
  world.must_apply(h);
  CHECK(world.db().rows("dst.t").empty());
  CHECK(world.job(id).restarts == 1);
}

TEST_CASE("tombstones: only of tables with an open job, and they go with it") {
  HistoryWorld world;
  for (const char* name : {"a", "b"}) {
    world.db().run(
        fmt::format("CREATE TABLE src.{0} (id int PRIMARY KEY); CREATE TABLE dst.{0} "
                    "(id int PRIMARY KEY)",
                    name));
  }
  const TableSchemaPtr a = world.add("a"), b = world.add("b");
  world.open();
  const int64_t id = world.run_job(a, kFloor);
  History h(6000);
  h.remove(a, {text("1")});
  h.remove(b, {text("1")});
  world.must_apply(h);
  CHECK(world.db().run("SELECT source_table, key FROM millrace.tombstone") ==
        Table{{"src.a", "{1}"}});
  const sink::JobState running[] = {sink::JobState::running};
  REQUIRE(world.box().set_state(id, running, sink::JobState::paused, ""));
  world.watch();
  CHECK(world.db().one("SELECT count(*) FROM millrace.tombstone") == "1");
  const sink::JobState paused[] = {sink::JobState::paused};
  REQUIRE(world.box().set_state(id, paused, sink::JobState::cancelled, ""));
  world.watch();
  CHECK(world.db().one("SELECT count(*) FROM millrace.tombstone") == "0");
  History later(7000);
  later.remove(a, {text("2")});
  world.must_apply(later);
  CHECK(world.db().one("SELECT count(*) FROM millrace.tombstone") == "0");
}

TEST_CASE("tombstones: they come with the transaction of their delete, or not at all") {
  OneTable world;
  world.run_job(world.t, kFloor);
  History h(6000);
  h.remove(world.t, key("1"));
  const auto applied = *world.target->applied();
  REQUIRE(world.target->begin(*applied, after(*applied)));
  REQUIRE(sink::apply_batch(*world.target, h.batch.changes()));
  world.target->rollback();
  CHECK(world.tombstones() == "0");
}

TEST_CASE("tombstones: an operator's retry of a parked delete leaves one too") {
  OneTable world;
  world.db().run("INSERT INTO src.t VALUES (1, 'a', 0)");
  const int64_t id = world.run_job(world.t, kFloor);
  const sink::Chunk chunk = world.read(id, world.t, kFloor);
  postgres::Options parking = world.options;
  parking.park = true;
  auto operators = open_target(parking);
  REQUIRE(operators->setup(world.shapes, nullptr));
  REQUIRE(operators->letters()->begin_edit(1));
  History h(6000);
  h.remove(world.t, key("1"));
  REQUIRE(sink::apply_batch(*operators, h.batch.changes()));
  REQUIRE(operators->commit());
  CHECK(world.tombstones() == "1");
  CHECK(world.write(chunk));
  CHECK(world.value(1) == "none");
}
