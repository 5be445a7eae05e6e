// The applied position: it moves with the rows or not at all, one instance moves it, versions never
// fall.
#include <thread>

#include <doctest/doctest.h>

#include "tests/integration/target/target_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

TableSchemaPtr plain(World& world) {
  for (const char* schema : {"src", "dst"}) {
    world.db().run(std::string("CREATE TABLE ") + schema +
                   ".t (id int PRIMARY KEY, v text, big text)");
  }
  const auto t = world.add("t");
  world.open();
  return t;
}

}  // namespace

TEST_CASE("applied: nothing before setup, the origin after, what begin was told after a commit") {
  World world;
  world.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY); CREATE TABLE dst.t (id int PRIMARY KEY)");
  world.add("t");
  auto target = open_target(world.options);
  auto none = target->applied();
  REQUIRE(none);
  CHECK_FALSE(*none);
  REQUIRE(target->setup(world.shapes, nullptr));
  none = target->applied();
  REQUIRE(none);
  CHECK_FALSE(*none);
  sink::Applied origin;
  origin.epoch = 3;
  origin.watermark = {2, Lsn{0x16B374D848}, Lsn{0x16B374D800}, {1763719200123456}};
  origin.system_identifier = "7'; --";
  origin.token = {42};
  origin.manifest_offset = 43;
  REQUIRE(target->set_origin(origin));
  auto read = target->applied();
  REQUIRE((read && *read));
  CHECK((*read)->applied_at.value > 1600000000000000);
  origin.applied_at = (*read)->applied_at;
  CHECK(**read == origin);
  const Status again = target->set_origin(origin);
  REQUIRE_FALSE(again);
  CHECK(again.error().code() == ErrorCode::refused);

  const sink::Applied next = after(origin);
  REQUIRE(target->begin(origin, next));
  REQUIRE(target->commit());
  read = target->applied();
  REQUIRE((read && *read));
  CHECK((*read)->watermark == next.watermark);
  CHECK((*read)->manifest_offset == next.manifest_offset);
}

TEST_CASE("begin: a second instance is refused and says how far the other came") {
  World world;
  const auto t = plain(world);
  auto second = open_target(world.options);
  const auto start = world.target->applied();
  REQUIRE(start);
  REQUIRE(second->applied());
  History h;
  h.insert(t, {text("1"), text("a"), null()});
  REQUIRE(world.apply(h));
  const Status status = second->begin(**start, after(**start));
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == ErrorCode::refused);
  CHECK(status.error().message().find(to_string(after(**start).watermark)) != std::string::npos);
  // It stays usable once it has looked again.
  CHECK(second->applied());
}

TEST_CASE("begin: a second instance waits for the first one's transaction, then is refused") {
  World world;
  plain(world);
  auto second = open_target(world.options);
  const auto start = world.target->applied();
  REQUIRE((start && *start));
  REQUIRE(second->applied());
  REQUIRE(world.target->begin(**start, after(**start)));
  Status outcome;
  std::thread waiting([&] { outcome = second->begin(**start, after(**start)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  REQUIRE(world.target->commit());
  waiting.join();
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code() == ErrorCode::refused);
}

TEST_CASE("lock_applier: one session has it, the other is told which, and has it afterwards") {
  World world;
  plain(world);
  world.options.application_name = "millrace shop";
  auto first = open_target(world.options);
  REQUIRE(first->lock_applier());
  REQUIRE(first->lock_applier());
  auto second = open_target(world.options);
  const Status status = second->lock_applier();
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == ErrorCode::refused);
  const std::string pid = world.db().one(
      "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM "
      "pg_database WHERE datname = current_database())");
  CHECK(status.error().describe().find("pg_terminate_backend(" + pid + ")") != std::string::npos);
  CHECK(status.error().message().find("application millrace shop") != std::string::npos);
  world.options.pipeline = "another";
  CHECK(open_target(world.options)->lock_applier());
  first.reset();
  Status taken;
  for (int i = 0; i < 6000 && !(taken = second->lock_applier()); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  CHECK(taken);
  CHECK(second->applied());
}

TEST_CASE("begin: a session that lost the applier lock applies nothing more") {
  World world;
  plain(world);
  REQUIRE(world.target->lock_applier());
  const auto start = world.target->applied();
  world.db().run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace'");
  for (int i = 0; i < 6000 && !world.target->applied();
       ++i) {  // in a new session, without the lock
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  REQUIRE(world.target->applied());
  const Status status = world.target->begin(**start, after(**start));
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == ErrorCode::retryable);
  REQUIRE(world.target->lock_applier());
  REQUIRE(world.target->begin(**start, after(**start)));
  CHECK(world.target->commit());
}

TEST_CASE("write: a target that works is waited for, and is not taken for dead") {
  World world;
  world.options.network_timeout = Millis(1000);
  const auto t = plain(world);
  world.db().run(
      "CREATE FUNCTION dst.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM "
      "pg_sleep(3); RETURN NEW; END'; CREATE TRIGGER slow BEFORE INSERT ON dst.t FOR EACH ROW "
      "EXECUTE FUNCTION dst.slow()");
  History h;
  h.insert(t, {text("1"), text("a"), null()});
  CHECK(world.apply_error(h) == "");
}

TEST_CASE("begin: refused when the applied row is gone") {
  World world;
  plain(world);
  const auto start = world.target->applied();
  world.db().run("DELETE FROM millrace.applied");
  const Status status = world.target->begin(**start, after(**start));
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == ErrorCode::refused);
}

TEST_CASE("rollback: neither rows nor position stay") {
  World world;
  const auto t = plain(world);
  const auto start = world.target->applied();
  History h;
  h.insert(t, {text("1"), text("a"), null()});
  REQUIRE(world.target->begin(**start, after(**start)));
  REQUIRE(sink::apply_batch(*world.target, h.batch.changes()));
  // no_atomic would show the row to others already.
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "0");
  CHECK(world.db().one("SELECT end_lsn FROM millrace.applied") ==
        to_string((*start)->watermark.end_lsn));
  world.target->rollback();
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "0");
  CHECK(*world.target->applied() == *start);
}

TEST_CASE("write: an older version never overwrites, updates or deletes a newer row") {
  World world;
  const auto t = plain(world);
  History newer(9000);
  newer.insert(t, {text("1"), text("new"), text("NEW")});
  newer.insert(t, {text("2"), text("new"), text("NEW")});
  newer.insert(t, {text("3"), text("new"), text("NEW")});
  newer.insert(t, {text("4"), text("new"), text("NEW")});
  REQUIRE(world.apply(newer));
  History older(1000);
  older.insert(t, {text("1"), text("old"), null()});
  older.update(t, {text("2"), text("old"), unchanged()});
  older.remove(t, {text("3"), null(), null()});
  older.update(t, {text("5"), text("old"), unchanged()}, {text("4"), null(), null()});
  CHECK(world.apply_error(older) == "");
  CHECK(world.db().run("SELECT id, v, big FROM dst.t ORDER BY id") ==
        Table{{"1", "new", "NEW"}, {"2", "new", "NEW"}, {"3", "new", "NEW"}, {"4", "new", "NEW"}});
}

TEST_CASE("write: rows without a version are older than everything") {
  World world;
  const auto t = plain(world);
  world.db().run(
      "INSERT INTO dst.t VALUES (1, 'there', 'big'), (2, 'there', 'big'), (3, 'there', 'big')");
  History h;
  h.insert(t, {text("1"), text("a"), null()});
  h.update(t, {text("2"), text("b"), unchanged()});
  h.remove(t, {text("3"), null(), null()});
  CHECK(world.apply_error(h) == "");
  CHECK(world.db().run("SELECT id, v, big FROM dst.t ORDER BY id") ==
        Table{{"1", "a", "\\N"}, {"2", "b", "big"}});
  CHECK(world.db().one("SELECT _millrace FROM dst.t WHERE id = 2") ==
        "\\x" + to_hex(make_version(1, Lsn{1000}, 1)));
}

TEST_CASE("commit: a lost connection is retryable, and applied() tells what became of it") {
  World world;
  const auto t = plain(world);
  const auto start = world.target->applied();
  History h;
  h.insert(t, {text("1"), text("a"), null()});
  REQUIRE(world.target->begin(**start, after(**start)));
  REQUIRE(sink::apply_batch(*world.target, h.batch.changes()));
  world.db().run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace'");
  const Status status = world.target->commit();
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == ErrorCode::retryable);
  CHECK(*world.target->applied() == *start);
  REQUIRE(world.apply(h));
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "1");
}

TEST_CASE("write: a connection lost before it is retryable and leaves nothing") {
  World world;
  const auto t = plain(world);
  const auto start = world.target->applied();
  History h;
  h.insert(t, {text("1"), text("a"), null()});
  REQUIRE(world.target->begin(**start, after(**start)));
  world.db().run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace'");
  const Status status = sink::apply_batch(*world.target, h.batch.changes());
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == ErrorCode::retryable);
  const Status begun = world.target->begin(**start, after(**start));
  REQUIRE_FALSE(begun);
  CHECK(begun.error().code() == ErrorCode::retryable);
  CHECK(world.apply_error(h) == "");
}

TEST_CASE("write: a lock that is not given up in time is retryable") {
  World world;
  world.options.lock_timeout = Millis(200);
  const auto t = plain(world);
  Db other(world.dsn());
  other.run("BEGIN; LOCK TABLE dst.t");
  History h;
  h.insert(t, {text("1"), text("a"), null()});
  CHECK(world.apply_error(h).find("retryable: ") == 0);
  other.run("ROLLBACK");
  CHECK(world.apply_error(h) == "");
}

TEST_CASE("interrupt: ends a waiting statement as cancelled") {
  World world;
  world.options.lock_timeout = Millis(3'600'000);
  const auto t = plain(world);
  Db other(world.dsn());
  other.run("BEGIN; LOCK TABLE dst.t");
  History h;
  h.insert(t, {text("1"), text("a"), null()});
  std::thread stopper([&] {
    Db watcher(world.dsn());
    while (watcher.one("SELECT count(*) FROM pg_locks WHERE NOT granted") == "0") {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    world.target->interrupt();
  });
  const std::string error = world.apply_error(h);
  stopper.join();
  CHECK(error.find("cancelled: ") == 0);
  other.run("ROLLBACK");
  CHECK(world.apply_error(h) == "");
}

TEST_CASE("connect: a server that is not there is retryable") {
  World world;
  world.options.dsn = "host=127.0.0.1 port=1 dbname=x connect_timeout=2";
  const auto applied = open_target(world.options)->applied();
  REQUIRE_FALSE(applied);
  CHECK(applied.error().code() == ErrorCode::retryable);
}

TEST_CASE("make_target: a DSN that libpq can not read is a config error") {
  postgres::Options options;
  options.dsn = "hots=localhost";
  const auto made = postgres::make_target(options);
  REQUIRE_FALSE(made);
  CHECK(made.error().code() == ErrorCode::config);
}
