// Jobs that copy history: kept beside the rows, moved by compare-and-set, and advanced with them.
#include <map>
#include <set>

#include <doctest/doctest.h>

#include "tests/integration/target/history_world.h"

using namespace millrace;
using namespace millrace::test;
using sink::JobKind;
using sink::JobState;

namespace {

struct TwoColumns : HistoryWorld {
  TableSchemaPtr t;
  explicit TwoColumns(const std::string& target_columns = "id int PRIMARY KEY, v text") {
    db().run("CREATE TABLE src.t (id int PRIMARY KEY, v text); CREATE TABLE dst.t (" +
             target_columns + ")");
    t = add("t");
    open();
  }
};

sink::CopyJob odd_job() {
  sink::CopyJob job;
  job.kind = JobKind::keys;
  job.why = "wait\xff for me";
  job.table = "src.\"odd \"\"t\"";
  job.where = "v = 'x,''y' AND n > 3";
  job.after = sink::KeyText{"", "a,b\n{}\"\\"};
  job.until = sink::KeyText{"ž", "NULL"};
  job.keys = {{"1", ""}, {"2", "\\x"}, {"", "'"}};
  job.replace = true;
  job.floor = Lsn{0x1600000001};
  job.rows_estimated = 1234567890123;
  job.who = "nobody";
  return job;
}

}  // namespace

TEST_CASE("history: set-up is idempotent, check names what is missing, teardown takes it away") {
  TwoColumns world;
  std::string print;
  REQUIRE(world.target->setup(world.shapes, &print));
  CHECK(print == "");
  for (const char* name : {"progress", "tombstone", "journal"}) {
    world.db().run(std::string("DROP TABLE millrace.") + name);
    auto findings = world.target->check(world.shapes);
    REQUIRE(findings);
    REQUIRE(findings->size() == 1);
    CHECK(contains(findings->front().describe(), std::string("millrace.") + name));
    CHECK(findings->front().hint() == "millrace setup");
    print.clear();
    REQUIRE(world.target->setup(world.shapes, &print));
    CHECK(contains(print, std::string("CREATE TABLE IF NOT EXISTS millrace.") + name));
    REQUIRE(world.target->setup(world.shapes, nullptr));
    findings = world.target->check(world.shapes);
    REQUIRE(findings);
    CHECK(findings->empty());
  }
  world.db().run("DROP INDEX millrace.progress_open");
  CHECK(world.target->check(world.shapes)->size() == 1);
  REQUIRE(world.target->setup(world.shapes, nullptr));
  CHECK(world.target->check(world.shapes)->empty());
}

TEST_CASE("history: a role that may not write its tables is told so") {
  TwoColumns world;
  world.db().run(
      "DROP ROLE IF EXISTS history_reader; CREATE ROLE history_reader LOGIN; GRANT USAGE ON SCHEMA "
      "millrace, dst TO history_reader; GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON dst.t "
      "TO history_reader; GRANT SELECT, INSERT, UPDATE ON millrace.applied, millrace.progress TO "
      "history_reader; GRANT SELECT, INSERT ON millrace.tombstone, millrace.journal TO "
      "history_reader");
  postgres::Options options = world.options;
  options.dsn += " user=history_reader";
  const auto findings = open_target(options)->check(world.shapes);
  REQUIRE(findings);
  REQUIRE(findings->size() == 2);  // it may read the one, and not so much as that of the other
  CHECK(contains(findings->front().describe(), "may not write millrace.tombstone"));
  CHECK(contains(findings->front().hint(), "GRANT"));
  CHECK(contains(findings->back().describe(), "millrace.proof"));
  world.db().run("DROP OWNED BY history_reader; DROP ROLE history_reader");
}

TEST_CASE("history: teardown takes this pipeline's jobs, and the tables with the last one") {
  TwoColumns world;
  sink::CopyJob job;
  job.table = "src.t";
  REQUIRE(world.box().add_job(job));
  world.db().run(
      "INSERT INTO millrace.applied SELECT 'other', epoch, timeline, end_lsn, commit_lsn, "
      "commit_time, system_identifier, token, manifest_offset FROM millrace.applied; INSERT INTO "
      "millrace.tombstone VALUES ('test', 's', 1, '{1}', '\\x00'), ('other', 's', 1, '{1}', "
      "'\\x00')");
  REQUIRE(world.target->teardown(nullptr));
  CHECK(world.db().one("SELECT count(*) FROM millrace.progress") == "0");
  CHECK(world.db().one("SELECT string_agg(pipeline, ',') FROM millrace.tombstone") == "other");
  postgres::Options last = world.options;
  last.pipeline = "other";
  REQUIRE(open_target(last)->teardown(nullptr));
  CHECK(world.db().one("SELECT to_regnamespace('millrace') IS NULL") == "t");
}

TEST_CASE("jobs: every field comes back, whatever it holds") {
  TwoColumns world;
  const sink::CopyJob job = odd_job();
  const auto id = world.box().add_job(job);
  REQUIRE_MESSAGE(id, (id ? "" : id.error().describe()));
  const sink::CopyJob back = world.job(*id);
  CHECK(back.kind == job.kind);
  CHECK(back.state == JobState::waiting);
  CHECK(back.why == "wait? for me");
  CHECK(back.table == job.table);
  CHECK(back.where == job.where);
  CHECK(back.after == job.after);
  CHECK(back.until == job.until);
  CHECK(back.keys == job.keys);
  CHECK(back.replace);
  CHECK_FALSE(back.delete_extra);
  CHECK(back.floor == job.floor);
  CHECK_FALSE(back.done_to);
  CHECK(back.restarts == 0);
  CHECK(back.rows_estimated == job.rows_estimated);
  CHECK(back.who == "nobody");
  CHECK(back.created_at.value > 1'700'000'000'000'000);
  CHECK(back.started_at.value == 0);
  CHECK(back.ended_at.value == 0);
  sink::CopyJob plain;
  plain.table = "src.t";
  const sink::CopyJob empty = world.job(*world.box().add_job(plain));
  CHECK_FALSE(empty.after);
  CHECK_FALSE(empty.until);
  CHECK(empty.keys.empty());
  CHECK_FALSE(empty.rows_estimated);
}

TEST_CASE("jobs: a table has one open job, and another when that has ended") {
  TwoColumns world;
  sink::CopyJob job;
  job.table = "src.t";
  const auto first = world.box().add_job(job);
  REQUIRE(first);
  const auto second = world.box().add_job(job);
  REQUIRE_FALSE(second);
  CHECK(second.error().code() == ErrorCode::negative);
  const JobState open[] = {JobState::waiting, JobState::running, JobState::paused};
  REQUIRE(world.box().set_state(*first, open, JobState::cancelled, "enough"));
  CHECK(world.job(*first).state == JobState::cancelled);
  CHECK(world.job(*first).why == "enough");
  CHECK(world.job(*first).ended_at.value > 0);
  REQUIRE(world.box().add_job(job));
  const JobState ended[] = {JobState::cancelled};
  const Status again = world.box().set_state(*first, ended, JobState::waiting, "");
  REQUIRE_FALSE(again);
  CHECK(again.error().code() == ErrorCode::negative);
}

TEST_CASE("jobs: a state moves from where it was seen, or not at all") {
  TwoColumns world;
  const int64_t id = world.run_job(world.t, Lsn{500});
  CHECK(world.job(id).state == JobState::running);
  CHECK(world.job(id).started_at.value > 0);
  auto operators = open_target(world.options);
  const JobState running[] = {JobState::running};
  REQUIRE(operators->history()->set_state(id, running, JobState::paused, "lunch"));
  const Status late = world.box().set_state(id, running, JobState::failed, "no");
  REQUIRE_FALSE(late);
  CHECK(late.error().code() == ErrorCode::negative);
  CHECK(contains(late.error().describe(), "is paused"));
  CHECK(world.job(id).why == "lunch");
  const JobState any[] = {JobState::paused};
  const Status missing = world.box().set_state(id + 9, any, JobState::waiting, "");
  CHECK(contains(missing.error().describe(), "there is no job"));
  sink::CopyJob again = world.job(id);
  const Status not_waiting = world.box().start_job(again);
  REQUIRE_FALSE(not_waiting);
  CHECK(not_waiting.error().code() == ErrorCode::negative);
}

TEST_CASE("jobs: a target that was set up before them has none, and says how to get them") {
  TwoColumns world;
  world.db().run("DROP TABLE millrace.progress, millrace.tombstone");
  const auto jobs = world.box().jobs();
  REQUIRE(jobs);
  CHECK_FALSE(*jobs);
  const auto added = world.box().add_job({});
  REQUIRE_FALSE(added);
  CHECK(added.error().code() == ErrorCode::negative);
  CHECK(added.error().hint() == "millrace setup");
  REQUIRE(world.target->lock_applier());
  REQUIRE(world.box().watch({}, nullptr));
  History h;
  h.insert(world.t, {text("1"), text("a")});
  world.must_apply(h);
}

TEST_CASE("history: has_rows, journal") {
  TwoColumns world;
  CHECK_FALSE(*world.box().has_rows(*world.t));
  world.db().run("INSERT INTO dst.t VALUES (1, 'x')");
  CHECK(*world.box().has_rows(*world.t));
  REQUIRE(world.box().journal("me", "mended \xff t"));
  CHECK(world.db().one("SELECT pipeline || who || what FROM millrace.journal") ==
        "testmemended ? t");
}

TEST_CASE("write_chunk: rows and progress move together, and the last one ends the job") {
  TwoColumns world;
  world.db().run("INSERT INTO src.t SELECT i, 'v' || i FROM generate_series(1, 10) AS i");
  const int64_t id = world.run_job(world.t, Lsn{500});
  CHECK(world.write(world.read(id, world.t, Lsn{500}, "id <= 4")));
  CHECK(world.job(id).done_to == sink::KeyText{"4"});
  CHECK(world.job(id).rows_done == 4);
  CHECK(world.job(id).state == JobState::running);
  sink::Chunk last = world.read(id, world.t, Lsn{500}, "id > 4");
  last.last = true;
  last.seen_until = Lsn{77777};
  CHECK(world.write(last));
  CHECK(world.db().rows("dst.t") == world.db().rows("src.t"));
  CHECK(world.job(id).state == JobState::done);
  CHECK(world.job(id).rows_done == 10);
  CHECK(world.job(id).done_to == sink::KeyText{"10"});
  CHECK(world.job(id).consistent_at == Lsn{77777});
  CHECK(world.job(id).ended_at.value > 0);
  CHECK(world.version("t", "id = 1") == "\\x0000000100000000000001f3ffffffff");
  // Once is enough: the job runs no more.
  CHECK_FALSE(world.write(last));
}

TEST_CASE("write_chunk: an empty last one ends the job too") {
  TwoColumns world;
  const int64_t id = world.run_job(world.t, Lsn{500});
  sink::Chunk last = world.read(id, world.t, Lsn{500});
  last.last = true;
  CHECK(world.write(last));
  CHECK(world.job(id).state == JobState::done);
  CHECK_FALSE(world.job(id).done_to);
}

TEST_CASE("write_chunk: who was overtaken writes nothing") {
  TwoColumns world;
  world.db().run("INSERT INTO src.t VALUES (1, 'a')");
  const int64_t id = world.run_job(world.t, Lsn{500});
  const sink::Chunk chunk = world.read(id, world.t, Lsn{500});
  world.db().run("UPDATE millrace.applied SET end_lsn = '0/FFFF'");
  CHECK(contains(world.write_error(chunk), "refused: another instance applied up to"));
  CHECK(world.db().rows("dst.t").empty());
  CHECK(world.job(id).rows_done == 0);
}

TEST_CASE("write_chunk: goes on behind a transaction of the stream, and before the next") {
  TwoColumns world;
  world.db().run("INSERT INTO src.t VALUES (1, 'a'), (2, 'b')");
  const int64_t id = world.run_job(world.t, Lsn{500});
  History first(1000), second(2000);
  first.insert(world.t, {text("3"), text("c")});
  second.insert(world.t, {text("4"), text("d")});
  REQUIRE(world.write(world.read(id, world.t, Lsn{500}, "id = 1")));
  const auto applied = *world.target->applied();
  REQUIRE(world.target->begin(*applied, after(*applied)));
  REQUIRE(sink::apply_batch(*world.target, first.batch.changes()));
  REQUIRE(world.target->commit());
  // The position that was put there is known without another look.
  REQUIRE(world.write(world.read(id, world.t, Lsn{500}, "id = 2")));
  world.must_apply(second);
  CHECK(world.db().rows("dst.t").size() == 4);
}

TEST_CASE("write_chunk: a job that was stopped meanwhile takes nothing") {
  TwoColumns world;
  world.db().run("INSERT INTO src.t VALUES (1, 'a')");
  const int64_t id = world.run_job(world.t, Lsn{500});
  const sink::Chunk chunk = world.read(id, world.t, Lsn{500});
  const JobState running[] = {JobState::running}, paused[] = {JobState::paused};
  REQUIRE(world.box().set_state(id, running, JobState::paused, ""));
  CHECK_FALSE(world.write(chunk));
  CHECK(world.db().rows("dst.t").empty());
  REQUIRE(world.box().set_state(id, paused, JobState::running, ""));
  CHECK(world.write(chunk));
  CHECK(world.db().rows("dst.t").size() == 1);
}

TEST_CASE("write_chunk: a row that does not fit is named, and the job goes on when it does") {
  TwoColumns world("id int PRIMARY KEY, v text CHECK (v <> 'bad')");
  world.db().run(
      "INSERT INTO src.t SELECT i, CASE i WHEN 70 THEN 'bad' ELSE 'good' END FROM "
      "generate_series(1, 100) AS i");
  const int64_t id = world.run_job(world.t, Lsn{500});
  const sink::Chunk chunk = world.read(id, world.t, Lsn{500});
  const std::string error = world.write_error(chunk);
  CHECK(contains(error, "bad_data: "));
  CHECK(contains(error, "table dst.t"));
  CHECK(contains(error, "key (id)=(70)"));
  CHECK_FALSE(contains(error, "position"));
  CHECK(world.db().rows("dst.t").empty());
  CHECK(world.job(id).rows_done == 0);
  CHECK(world.job(id).state == JobState::running);
  world.db().run("ALTER TABLE dst.t DROP CONSTRAINT t_v_check");
  CHECK(world.write(chunk));
  CHECK(world.db().rows("dst.t") == world.db().rows("src.t"));
}

TEST_CASE("write_chunk: a foreign key that fails names the row") {
  HistoryWorld world;
  world.db().run(
      "CREATE TABLE src.c (id int PRIMARY KEY, p int); CREATE TABLE dst.p (id int PRIMARY KEY); "
      "CREATE TABLE dst.c (id int PRIMARY KEY, p int REFERENCES dst.p); INSERT INTO dst.p VALUES "
      "(1); INSERT INTO src.c VALUES (1, 1), (2, 1), (3, 9), (4, 1)");
  const TableSchemaPtr c = world.add("c");
  world.open();
  const int64_t id = world.run_job(c, Lsn{500});
  const std::string error = world.write_error(world.read(id, c, Lsn{500}));
  CHECK(contains(error, "bad_data: "));
  CHECK(contains(error, "key (id)=(3)"));
  CHECK(world.db().rows("dst.c").empty());
}

TEST_CASE("history: a table's kin are all that its rows refer to, and nobody else") {
  HistoryWorld world;
  for (const char* name : {"a", "b", "c", "up", "x", "y"}) {
    for (const char* schema : {"src.", "dst."}) {
      world.db().run(std::string("CREATE TABLE ") + schema + name + " (id int PRIMARY KEY, r int)");
    }
  }
  world.db().run(
      "ALTER TABLE dst.b ADD FOREIGN KEY (r) REFERENCES dst.a; ALTER TABLE dst.c ADD FOREIGN KEY "
      "(r) "
      "REFERENCES dst.b; ALTER TABLE dst.up ADD FOREIGN KEY (r) REFERENCES dst.up; ALTER TABLE "
      "dst.x "
      "ADD FOREIGN KEY (r) REFERENCES dst.y; ALTER TABLE dst.y ADD FOREIGN KEY (r) REFERENCES "
      "dst.x");
  std::map<std::string, TableSchemaPtr> shapes;
  for (const char* name : {"a", "b", "c", "up", "x", "y"}) shapes[name] = world.add(name);
  world.open();
  const auto above = [&](const std::string& name) {
    const auto kin = world.box().kin(*shapes[name]);
    REQUIRE(kin);
    CHECK(kin->name == "\"dst\".\"" + name + "\"");
    return std::set<std::string>(kin->above.begin(), kin->above.end());
  };
  CHECK(above("a").empty());
  CHECK(above("b") == std::set<std::string>{R"("dst"."a")"});
  CHECK(above("c") == std::set<std::string>{R"("dst"."a")", R"("dst"."b")"});
  CHECK(above("up").empty());
  CHECK(above("x").size() + above("y").size() == 1);  // one of them goes first
}
