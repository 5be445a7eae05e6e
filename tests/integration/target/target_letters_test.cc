// Parked rows: letters come with the rows and the position, and leave with a retry or a drop.
#include <atomic>
#include <thread>

#include <doctest/doctest.h>

#include "relay/pipeline/letter_codec.h"
#include "relay/pipeline/letters.h"
#include "tests/integration/target/target_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

struct ParkingWorld : World {
  TableSchemaPtr t;
  wire::RowStamp stamp;
  uint64_t letters_max = 1000;

  explicit ParkingWorld(
      const std::string& target_columns = "id int PRIMARY KEY, v text, n int CHECK (n < 100)") {
    db().run("CREATE TABLE src.t (id int PRIMARY KEY, v text, n int); CREATE TABLE dst.t (" +
             target_columns + ")");
    t = add("t");
    options.park = true;
    open();
  }
  // One target transaction, as the applier makes it.
  Status park(const History& history) { return park(*target, history); }
  Status park(sink::Target& to, const History& history) {
    sink::Parking parking(*to.letters(), {options.park, letters_max},
                          pipeline::letter_codec(stamp));
    sink::Planner planner;
    TRY_ASSIGN(const auto applied, to.applied());
    TRY(parking.load());
    TRY(to.begin(*applied, after(*applied)));
    TRY(parking.begun());
    TRY(sink::apply_batch(to, history.batch.changes(), planner, &parking));
    return to.commit();
  }
  std::vector<sink::Letter> letters() {
    REQUIRE(target->applied());
    auto listed = target->letters()->list();
    REQUIRE(listed);
    return *listed;
  }
  pipeline::RetryOutcome retry() {
    auto outcome = pipeline::retry_letters(*target, letters());
    REQUIRE_MESSAGE(outcome, (outcome ? "" : outcome.error().describe()));
    return *outcome;
  }
  std::string parked() { return db().one("SELECT count(*) FROM millrace.parked"); }
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("park: set-up is idempotent, check names what is missing, teardown takes it away") {
  ParkingWorld world;
  std::string print;
  REQUIRE(world.target->setup(world.shapes, &print));
  CHECK(print == "");
  world.db().run("DROP TABLE millrace.parked");
  auto findings = world.target->check(world.shapes);
  REQUIRE(findings);
  REQUIRE(findings->size() == 1);
  CHECK(contains(findings->front().describe(), "millrace.parked"));
  CHECK(findings->front().hint() == "millrace setup");
  History h;
  h.insert(world.t, {text("1"), text("x"), text("1")});
  const Status missing = world.park(h);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code() == ErrorCode::bad_data);
  CHECK(missing.error().hint() == "millrace setup");
  REQUIRE(world.target->setup(world.shapes, nullptr));
  CHECK(world.park(h));
  History bad(5000);
  bad.insert(world.t, {text("2"), text("x"), text("100")});
  REQUIRE(world.park(bad));
  world.db().run(
      "INSERT INTO millrace.applied SELECT 'another', epoch, timeline, end_lsn, commit_lsn, "
      "commit_time, system_identifier, token, manifest_offset FROM millrace.applied");
  REQUIRE(world.target->teardown(nullptr));
  CHECK(world.parked() == "0");
  world.db().run("DELETE FROM millrace.applied");
  REQUIRE(world.target->teardown(nullptr));
  CHECK(world.db().one("SELECT count(*) FROM pg_namespace WHERE nspname = 'millrace'") == "0");
}

TEST_CASE("park: one bad row in thousands, for every way in which a row can be bad") {
  struct Case {
    const char* name;
    Value v, n;
    const char* state;
  };
  for (const Case& c : {Case{"check", text("v"), text("100"), "23514"},
                        Case{"not null", null(), text("1"), "23502"},
                        Case{"syntax", text("v"), text("abc"), "22P02"},
                        Case{"range", text("v"), text("99999999999"), "22003"},
                        Case{"encoding", text("\xff\xfe"), text("1"), "22021"},
                        Case{"nul", text(std::string_view("a\0b", 3)), text("1"), "NUL byte"}}) {
    CAPTURE(c.name);
    ParkingWorld world("id int PRIMARY KEY, v text NOT NULL, n int CHECK (n < 100)");
    History h(5000);
    for (int i = 0; i < 3000; ++i) {
      const std::string id = std::to_string(i);
      h.insert(world.t, i == 1234 ? std::vector<Value>{text(id), c.v, c.n}
                                  : std::vector<Value>{text(id), text("v"), text("1")});
    }
    const Status applied = world.park(h);
    REQUIRE_MESSAGE(applied, (applied ? "" : applied.error().describe()));
    CHECK(world.db().one("SELECT count(*) FROM dst.t") == "2999");
    const auto letters = world.letters();
    REQUIRE(letters.size() == 1);
    const sink::Letter& letter = letters.front();
    CHECK(letter.table == "src.t");
    CHECK(letter.key_columns == "id");
    CHECK(letter.key_json == "{\"id\":\"1234\"}");
    CHECK(letter.position == Position{1, Lsn{5000}, 1234});
    CHECK(letter.failed);
    CHECK(contains(letter.error, c.state));
    CHECK(contains(letter.error, "key (id)=(1234)"));
  }
}

TEST_CASE("park: letters, rows and position are one transaction") {
  ParkingWorld world;
  History h;
  h.insert(world.t, {text("1"), text("x"), text("1")});
  h.insert(world.t, {text("2"), text("x"), text("100")});
  const auto before = world.target->applied();
  {
    sink::Parking parking(*world.target->letters(), {true, 10},
                          pipeline::letter_codec(world.stamp));
    sink::Planner planner;
    REQUIRE(parking.load());
    REQUIRE(world.target->begin(**before, after(**before)));
    REQUIRE(sink::apply_batch(*world.target, h.batch.changes(), planner, &parking));
    CHECK(parking.count() == 1);
    CHECK(world.parked() == "0");
    world.target->rollback();
  }
  CHECK(world.parked() == "0");
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "0");
  REQUIRE(world.park(h));
  CHECK(world.parked() == "1");
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "1");
}

TEST_CASE("park: a plan that fails after a letter was written does not undo the letter") {
  ParkingWorld world;
  world.db().run("CREATE UNIQUE INDEX ON dst.t (v)");
  History h;
  h.insert(world.t, {text("1"), text("a"), text("100")});
  h.commit();
  REQUIRE(world.park(h));
  History more(9000);
  more.update(world.t, {text("1"), text("b"), text("1")});  // behind: a letter before any plan
  for (int i = 10; i < 200; ++i) {
    more.insert(world.t, {text(std::to_string(i)), text(std::to_string(i)), text("1")});
  }
  more.insert(world.t, {text("300"), text("10"), text("1")});  // meets the unique index
  REQUIRE(world.park(more));
  CHECK(world.parked() == "3");
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "190");
}

TEST_CASE("park: a table that was mended while the pipeline ran is looked at again first") {
  ParkingWorld world("id int PRIMARY KEY, v int, n int");
  History h;
  h.insert(world.t, {text("1"), text("5"), text("1")});
  REQUIRE(world.park(h));
  world.db().run("ALTER TABLE dst.t ALTER v TYPE text");
  History more(9000);
  more.insert(world.t, {text("2"), text("five"), text("1")});
  Status applied = world.park(more);
  if (!applied && applied.error().code() == ErrorCode::retryable) applied = world.park(more);
  REQUIRE_MESSAGE(applied, (applied ? "" : applied.error().describe()));
  CHECK(world.parked() == "0");
}

TEST_CASE("park: a schema that does not fit stops, and parks nothing") {
  ParkingWorld world;
  world.db().run("ALTER TABLE dst.t RENAME TO hidden");
  History h;
  h.insert(world.t, {text("1"), text("x"), text("1")});
  const Status stopped = world.park(h);
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().code() == ErrorCode::bad_data);
  CHECK(world.parked() == "0");
}

TEST_CASE(
    "retry: after mending, chains go in order, with changed keys and large untouched values") {
  ParkingWorld world;
  History h;
  h.insert(world.t, {text("1"), text("large"), text("1")});
  h.insert(world.t, {text("5"), text("five"), text("1")});
  h.commit();
  REQUIRE(world.park(h));
  History bad(20000);
  bad.update(world.t, {text("1"), unchanged(), text("100")});
  bad.commit();
  bad.insert(world.t, {text("7"), text("x"), text("200")});
  bad.commit();
  REQUIRE(world.park(bad));
  History behind(30000);
  behind.update(world.t, {text("2"), unchanged(), text("101")}, {text("1"), null(), null()});
  behind.insert(world.t, {text("1"), text("new"), text("2")});
  behind.remove(world.t, {text("7"), null(), null()});
  behind.update(world.t, {text("5"), text("FIVE"), text("2")});
  REQUIRE(world.park(behind));
  CHECK(world.parked() == "5");
  CHECK(world.db().rows("dst.t") == Table{{"1", "1", "large"}, {"5", "2", "FIVE"}});

  // Nothing is mended yet: each chain says where it stands. That of 7 collapses to a delete.
  auto outcome = world.retry();
  CHECK(outcome.applied == 2);
  REQUIRE(outcome.stuck.size() == 1);
  CHECK(outcome.stuck.front().waiting == 3);
  CHECK(outcome.stuck.front().letter.key_json == "{\"id\":\"1\"}");
  CHECK(contains(outcome.stuck.front().error.describe(), "23514"));
  CHECK(world.letters().front().attempts >= 2);

  world.db().run("ALTER TABLE dst.t DROP CONSTRAINT t_n_check");
  outcome = world.retry();
  CHECK(outcome.applied == 3);
  CHECK(outcome.stuck.empty());
  CHECK(world.parked() == "0");
  CHECK(world.db().rows("dst.t") ==
        Table{{"1", "2", "new"}, {"2", "101", "large"}, {"5", "2", "FIVE"}});
}

TEST_CASE("retry: stops at the first letter that fails, and keeps what went before it") {
  ParkingWorld world;
  History h;
  h.insert(world.t, {text("1"), text("a"), text("100")});
  h.commit();
  REQUIRE(world.park(h));
  History more(9000);
  more.update(world.t, {text("1"), text("b"), text("150")});
  more.commit();
  more.update(world.t, {text("1"), text("c"), text("999")});
  REQUIRE(world.park(more));
  world.db().run("ALTER TABLE dst.t DROP CONSTRAINT t_n_check, ADD CHECK (n < 500)");
  const auto outcome = world.retry();
  CHECK(outcome.applied == 2);
  REQUIRE(outcome.stuck.size() == 1);
  CHECK(world.db().rows("dst.t") == Table{{"1", "150", "b"}});
  CHECK(world.parked() == "1");
}

TEST_CASE("retry: a chain longer than a transaction falls apart and is applied all the same") {
  ParkingWorld world;
  History h;
  h.insert(world.t, {text("1"), text("a"), text("100")});
  h.insert(world.t, {text("9"), text("z"), text("100")});
  h.commit();
  REQUIRE(world.park(h));
  History more(9000);
  more.update(world.t, {text("2"), text("b"), text("1")}, {text("1"), null(), null()});
  more.update(world.t, {text("3"), text("c"), text("1")}, {text("2"), null(), null()});
  more.insert(world.t, {text("1"), text("d"), text("1")});
  more.update(world.t, {text("3"), text("e"), text("1")});
  REQUIRE(world.park(more));
  CHECK(world.parked() == "6");
  world.db().run("ALTER TABLE dst.t DROP CONSTRAINT t_n_check");
  const auto outcome = pipeline::retry_letters(*world.target, world.letters(), 2);
  REQUIRE(outcome);
  CHECK(outcome->applied == 6);
  CHECK(world.parked() == "0");
  CHECK(world.db().rows("dst.t") == Table{{"1", "1", "d"}, {"3", "1", "e"}, {"9", "100", "z"}});
}

TEST_CASE("retry: a newer row in the target stays") {
  ParkingWorld world;
  History h(5000);
  h.insert(world.t, {text("1"), text("old"), text("100")});
  h.insert(world.t, {text("2"), text("old"), text("100")});
  h.remove(world.t, {text("2"), null(), null()});
  REQUIRE(world.park(h));
  world.db().run(
      "ALTER TABLE dst.t DROP CONSTRAINT t_n_check; INSERT INTO dst.t VALUES (1, 'newer', "
      "5, '\\x00000001000000000000ffff00000000'), (2, 'newer', 5, "
      "'\\x00000001000000000000ffff00000000')");
  const auto outcome = world.retry();
  CHECK(outcome.stuck.empty());
  CHECK(world.parked() == "0");
  CHECK(world.db().run("SELECT id, v FROM dst.t ORDER BY id") ==
        Table{{"1", "newer"}, {"2", "newer"}});
}

TEST_CASE("retry: a child waits for its parent, whatever stands first") {
  World base;
  base.db().run(
      "CREATE TABLE src.p (id int PRIMARY KEY, n int); CREATE TABLE src.c (id int PRIMARY KEY, p "
      "int);"
      "CREATE TABLE dst.p (id int PRIMARY KEY, n int CHECK (n < 100));"
      "CREATE TABLE dst.c (id int PRIMARY KEY, p int REFERENCES dst.p)");
  const auto p = base.add("p");
  const auto c = base.add("c");
  base.options.park = true;
  base.open();
  wire::RowStamp stamp;
  const auto apply = [&](const History& history) {
    sink::Parking parking(*base.target->letters(), {true, 100}, pipeline::letter_codec(stamp));
    sink::Planner planner;
    const auto applied = base.target->applied();
    REQUIRE(parking.load());
    REQUIRE(base.target->begin(**applied, after(**applied)));
    REQUIRE(parking.begun());
    REQUIRE(sink::apply_batch(*base.target, history.batch.changes(), planner, &parking));
    REQUIRE(base.target->commit());
  };
  History h;
  h.insert(p, {text("1"), text("1")});
  h.insert(c, {text("1"), text("1")});
  h.commit();
  apply(h);
  History more(9000);
  more.update(c, {text("1"), text("2")});  // the source defers its foreign key
  more.insert(p, {text("2"), text("100")});
  more.insert(p, {text("3"), text("3")});
  apply(more);
  REQUIRE(base.target->applied());
  auto letters = base.target->letters()->list();
  REQUIRE(letters);
  CHECK(letters->size() == 2);
  base.db().run("ALTER TABLE dst.p DROP CONSTRAINT p_n_check");
  const auto outcome = pipeline::retry_letters(*base.target, *letters);
  REQUIRE(outcome);
  CHECK(outcome->applied == 2);
  CHECK(outcome->stuck.empty());
  CHECK(base.db().rows("dst.c") == Table{{"1", "2"}});
}

TEST_CASE("park: a constraint that is checked at COMMIT is checked row by row, and parks its row") {
  ParkingWorld world("id int PRIMARY KEY, v text, n int, UNIQUE (n) DEFERRABLE INITIALLY DEFERRED");
  History h;
  for (int i = 0; i < 100; ++i) {
    h.insert(world.t, {text(std::to_string(i)), text("v"), text(std::to_string(i % 99))});
  }
  const Status first = world.park(h);
  REQUIRE_FALSE(first);
  CHECK(first.error().code() == ErrorCode::retryable);
  const Status second = world.park(h);
  REQUIRE_MESSAGE(second, (second ? "" : second.error().describe()));
  CHECK(world.parked() == "1");
  CHECK(world.letters().front().key_json == "{\"id\":\"99\"}");
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "99");
  const auto outcome = world.retry();
  REQUIRE(outcome.stuck.size() == 1);
  CHECK(contains(outcome.stuck.front().error.describe(), "23505"));
}

TEST_CASE("drop: the letter goes, the journal says who and why, the rest of the chain can go on") {
  ParkingWorld world;
  History h;
  h.insert(world.t, {text("1"), text("a"), text("100")});
  h.commit();
  REQUIRE(world.park(h));
  History more(9000);
  more.update(world.t, {text("1"), text("b"), text("7")});
  more.commit();
  REQUIRE(world.park(more));
  auto letters = world.letters();
  REQUIRE(letters.size() == 2);
  const auto dropped =
      pipeline::drop_letters(*world.target, std::span(letters).first(1), "me@here", "a test row");
  REQUIRE(dropped);
  CHECK(*dropped == 1);
  CHECK(world.db()
            .one("SELECT who || ': ' || what FROM millrace.journal")
            .find("me@here: dropped "
                  "letter ") == 0);
  CHECK(contains(world.db().one("SELECT what FROM millrace.journal"), "a test row"));
  CHECK(world.retry().stuck.empty());
  CHECK(world.db().rows("dst.t") == Table{{"1", "7", "b"}});
  History later(20000);
  later.update(world.t, {text("1"), text("c"), text("8")});
  REQUIRE(world.park(later));
  CHECK(world.db().rows("dst.t") == Table{{"1", "8", "c"}});
}

TEST_CASE("begin_edit: the applier waits for it, and then knows that keys are free again") {
  ParkingWorld world;
  History h;
  h.insert(world.t, {text("1"), text("a"), text("100")});
  REQUIRE(world.park(h));
  world.db().run("ALTER TABLE dst.t DROP CONSTRAINT t_n_check");
  auto applier = open_target(world.options);
  sink::Parking parking(*applier->letters(), {true, 100}, pipeline::letter_codec(world.stamp));
  const auto applied = applier->applied();
  REQUIRE((applied && *applied));
  REQUIRE(parking.load());
  CHECK(parking.count() == 1);

  const auto letters = world.letters();
  REQUIRE(world.target->letters()->begin_edit(1));
  std::atomic<bool> begun{false};
  History more(9000);
  more.update(world.t, {text("1"), text("b"), text("7")});
  Status result;
  std::thread other([&] {
    sink::Planner planner;
    result = [&]() -> Status {
      TRY(applier->begin(**applied, after(**applied)));
      begun = true;
      TRY(parking.begun());
      TRY(sink::apply_batch(*applier, more.batch.changes(), planner, &parking));
      return applier->commit();
    }();
  });
  while (world.db().one("SELECT count(*) FROM pg_locks WHERE NOT granted") == "0") {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  CHECK_FALSE(begun);
  const int64_t ids[] = {letters.front().id};
  REQUIRE(world.target->letters()->remove(ids));
  REQUIRE(world.target->commit());
  other.join();
  REQUIRE_MESSAGE(result, (result ? "" : result.error().describe()));
  CHECK(parking.count() == 0);
  CHECK(world.parked() == "0");
  CHECK(world.db().rows("dst.t") == Table{{"1", "7", "b"}});
}

TEST_CASE("stop: rows that were parked before keep their keys, new ones stop the pipeline") {
  ParkingWorld world;
  History h;
  h.insert(world.t, {text("1"), text("a"), text("100")});
  REQUIRE(world.park(h));
  world.options.park = false;
  const auto target = open_target(world.options);
  History more(9000);
  more.remove(world.t, {text("1"), null(), null()});
  more.insert(world.t, {text("2"), text("b"), text("1")});
  REQUIRE(world.park(*target, more));
  CHECK(world.parked() == "2");
  History bad(20000);
  bad.insert(world.t, {text("3"), text("c"), text("100")});
  const Status stopped = world.park(*target, bad);
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().code() == ErrorCode::bad_data);
  CHECK(world.parked() == "2");
}
