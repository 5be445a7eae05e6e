// setup, check and teardown.
#include <thread>

#include <doctest/doctest.h>

#include "tests/integration/target/target_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string findings_of(sink::Target& target, const std::vector<TableSchemaPtr>& shapes) {
  const auto findings = target.check(shapes);
  REQUIRE(findings);
  std::string out;
  for (const Error& finding : *findings) {
    CHECK(finding.code() == ErrorCode::negative);
    out += finding.describe() + "\n";
  }
  return out;
}

}  // namespace

TEST_CASE("setup: creates tables from the source's shape and the mapping, and is idempotent") {
  World world;
  world.db().run(
      "CREATE TYPE public.mood AS ENUM ('sad', 'ok'); CREATE DOMAIN public.short AS varchar(5);"
      "CREATE TABLE src.t (id int, part varchar(7), amount numeric(12,2) NOT NULL, m "
      "public.mood[], s public.short, "
      "c char(3), b bit(4), at timestamptz(3), PRIMARY KEY (part, id)); CREATE TABLE src.log (n "
      "int, what text)");
  sink::TableMapping mapping;
  mapping.target_schema = "Brand new";
  mapping.create = true;
  mapping.expressions = {
      {"cents", "(amount * 100)::bigint"}, {"day", "at::date"}, {"code", "c::varchar(3)"}};
  mapping.dropped = {"amount"};
  const auto t = world.add("t", mapping);
  sink::TableMapping log;
  log.create = true;
  log.target_table = "log";
  const auto l = world.add("log", log);
  auto target = open_target(world.options);
  CHECK(findings_of(*target, world.shapes) == "");
  std::string sql;
  REQUIRE(target->setup(world.shapes, &sql));
  CHECK(contains(sql, "CREATE SCHEMA IF NOT EXISTS millrace;"));
  CHECK(contains(sql, "PRIMARY KEY (\"id\", \"part\")"));
  CHECK(world.db().one(
            "SELECT count(*) FROM pg_namespace WHERE nspname IN ('millrace', 'Brand new')") == "0");
  world.open();
  CHECK(world.db().run(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = "
            "'\"Brand new\".t'::regclass AND attnum > 0 ORDER BY attnum") ==
        Table{{"id", "integer"},
              {"part", "character varying(7)"},
              {"m", "mood[]"},
              {"s", "character varying"},
              {"c", "character(3)"},
              {"b", "bit(4)"},
              {"at", "timestamp(3) with time zone"},
              {"cents", "bigint"},
              {"day", "date"},
              {"code", "character varying(3)"},
              {"_millrace", "bytea"}});
  sql.clear();
  REQUIRE(world.target->setup(world.shapes, &sql));
  CHECK(sql == "");
  REQUIRE(world.target->setup(world.shapes, nullptr));
  CHECK(findings_of(*world.target, world.shapes) == "");
  History h;
  h.insert(t, {text("1"), text("p"), text("1.50"), text("{ok}"), text("s"), text("abc"),
               text("1010"), text("2020-01-01 00:00:00+00")});
  h.insert(l, {text("1"), text("x")});
  CHECK(world.apply_error(h) == "");
  CHECK(world.db().run("SELECT cents, m FROM \"Brand new\".t") == Table{{"150", "{ok}"}});
}

TEST_CASE("setup: many at once do not meet") {
  World world;
  world.db().run("CREATE TABLE src.t (id int PRIMARY KEY)");
  sink::TableMapping mapping;
  mapping.create = true;
  world.add("t", mapping);
  std::vector<std::thread> threads;
  std::vector<std::string> errors(8);
  for (auto& error : errors) {
    threads.emplace_back([&] {
      auto target = postgres::make_target(world.options);
      const Status status = (*target)->setup(world.shapes, nullptr);
      if (!status) error = status.error().describe();
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& error : errors) CHECK(error == "");
}

TEST_CASE("check: names what is missing with the SQL that adds it") {
  World world;
  world.db().run(
      "CREATE TABLE src.gone (id int PRIMARY KEY);"
      "CREATE TABLE src.nokey (id int, part int, PRIMARY KEY (id, part)); CREATE TABLE dst.nokey "
      "(id int PRIMARY KEY, part int);"
      "CREATE TABLE src.lacks (id int PRIMARY KEY, v varchar(9)); CREATE TABLE dst.lacks (id int "
      "PRIMARY KEY);"
      "CREATE TABLE src.fills (id int PRIMARY KEY); CREATE TABLE dst.fills (id int PRIMARY KEY, "
      "must int NOT NULL);"
      "CREATE TABLE src.typed (id int PRIMARY KEY, v int); CREATE TABLE dst.typed (id int PRIMARY "
      "KEY, v int, x point, _millrace bytea);"
      "CREATE TABLE src.late (id int PRIMARY KEY); CREATE TABLE dst.late (id int PRIMARY KEY "
      "DEFERRABLE);"
      "CREATE TABLE src.seen (id int PRIMARY KEY); CREATE VIEW dst.seen AS SELECT 1 AS id");
  for (const char* name : {"gone", "nokey", "lacks", "fills", "late", "seen"}) world.add(name);
  sink::TableMapping typed;
  typed.expressions = {{"x", "v + 1"}};
  world.add("typed", typed);
  auto target = open_target(world.options);
  const std::string findings = findings_of(*target, world.shapes);
  CAPTURE(findings);
  CHECK(contains(findings, "no such table (table dst.gone)"));
  CHECK(contains(findings,
                 "CREATE UNIQUE INDEX CONCURRENTLY ON \"dst\".\"nokey\" (\"id\", \"part\")"));
  CHECK(contains(findings, "ALTER TABLE \"dst\".\"lacks\" ADD COLUMN \"v\" character varying(9)"));
  CHECK(contains(findings, "ALTER COLUMN \"must\" DROP NOT NULL"));
  CHECK(contains(findings, "no unique index on exactly (\"id\") (table dst.late)"));
  CHECK(contains(findings, "a view"));
  CHECK(contains(findings, "of type point but expression is of type integer"));
}

TEST_CASE("check: privileges of a plain role") {
  World world;
  world.db().run(
      "DROP ROLE IF EXISTS \"Plain role\"; CREATE ROLE \"Plain role\" LOGIN; GRANT USAGE ON "
      "SCHEMA dst TO \"Plain role\";"
      "CREATE TABLE src.t (id int PRIMARY KEY); CREATE TABLE dst.t (id int PRIMARY KEY); "
      "GRANT SELECT, INSERT ON dst.t TO \"Plain role\"");
  world.add("t");
  world.options.dsn = world.dsn() + " user='Plain role'";
  auto target = open_target(world.options);
  const std::string findings = findings_of(*target, world.shapes);
  CAPTURE(findings);
  const std::string grant = "GRANT UPDATE, DELETE, TRUNCATE ON \"dst\".\"t\" TO \"Plain role\"";
  const std::string schema = "CREATE SCHEMA millrace AUTHORIZATION \"Plain role\"";
  CHECK(contains(findings, "lacks UPDATE, DELETE, TRUNCATE (table dst.t); " + grant + "\n"));
  CHECK(contains(findings, schema + "\n"));
  CHECK(contains(findings, "ADD COLUMN IF NOT EXISTS _millrace bytea"));
  const Status status = target->setup(world.shapes, nullptr);
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == ErrorCode::bad_data);
  CHECK(status.error().hint() ==
        "let a privileged role run this, then repeat the command: CREATE SCHEMA IF NOT EXISTS "
        "millrace AUTHORIZATION \"Plain "
        "role\"; ALTER TABLE \"dst\".\"t\" ADD COLUMN IF NOT EXISTS _millrace bytea");
  // With what check and setup ask for, the plain role can do all of it.
  world.db().run(schema + ";" + grant + "; ALTER TABLE dst.t ADD COLUMN _millrace bytea");
  world.open();
  History h;
  h.insert(world.shapes[0], {text("1")});
  CHECK(world.apply_error(h) == "");
  world.target.reset();
  target.reset();
  world.db().run("DROP OWNED BY \"Plain role\" CASCADE; DROP ROLE \"Plain role\"");
}

TEST_CASE("check: a role that may not use or fill a schema is told the GRANT") {
  World world;
  world.db().run(
      "DROP ROLE IF EXISTS shut_out; CREATE ROLE shut_out LOGIN; CREATE SCHEMA millrace; "
      "CREATE SCHEMA \"Open one\"; GRANT USAGE ON SCHEMA \"Open one\" TO shut_out; "
      "CREATE TABLE src.t (id int PRIMARY KEY); CREATE TABLE src.u (id int PRIMARY KEY); "
      "CREATE TABLE src.v (id int PRIMARY KEY); CREATE TABLE dst.t (id int PRIMARY KEY, _millrace "
      "bytea); GRANT ALL ON dst.t TO shut_out");
  world.add("t");
  for (const auto& [table, schema] : {std::pair("u", "Open one"), std::pair("v", "not there")}) {
    sink::TableMapping mapping;
    mapping.target_schema = schema;
    mapping.create = true;
    world.add(table, mapping);
  }
  world.options.dsn = world.dsn() + " user=shut_out";
  auto target = open_target(world.options);
  const std::string findings = findings_of(*target, world.shapes);
  CHECK(
      findings ==
      "the target's role shut_out lacks USAGE, CREATE on the schema millrace; GRANT USAGE, "
      "CREATE ON SCHEMA millrace TO shut_out\n"
      "the target's role shut_out lacks USAGE on the schema \"dst\" (table dst.t); GRANT USAGE "
      "ON SCHEMA \"dst\" TO shut_out\n"
      "the target's role shut_out lacks CREATE on the schema \"Open one\" (table \"Open one\".u); "
      "GRANT CREATE ON SCHEMA \"Open one\" TO shut_out\n"
      "the target's role shut_out may not create the schema \"not there\" (table \"not "
      "there\".v); CREATE SCHEMA \"not there\" AUTHORIZATION shut_out\n");
  // With these, and the rights of set-up, nothing is left to say.
  world.db().run(
      "GRANT USAGE, CREATE ON SCHEMA millrace TO shut_out; GRANT USAGE ON SCHEMA \"dst\" TO "
      "shut_out; GRANT CREATE ON SCHEMA \"Open one\" TO shut_out; CREATE SCHEMA \"not there\" "
      "AUTHORIZATION shut_out");
  CHECK(findings_of(*target, world.shapes) == "");
  CHECK(target->setup(world.shapes, nullptr));
  world.db().run(
      "ALTER TABLE millrace.applied OWNER TO CURRENT_USER; REVOKE ALL ON "
      "millrace.applied FROM shut_out; GRANT SELECT ON millrace.applied TO shut_out");
  CHECK(findings_of(*target, world.shapes) ==
        "the target's role shut_out lacks INSERT, UPDATE on millrace.applied; GRANT INSERT, "
        "UPDATE ON millrace.applied TO shut_out\n");
  target.reset();
  world.db().run("DROP OWNED BY shut_out CASCADE; DROP ROLE shut_out");
}

TEST_CASE("teardown: removes columns and metadata, and leaves other pipelines alone") {
  World world;
  for (const char* schema : {"src", "dst"}) {
    world.db().run(std::string("CREATE TABLE ") + schema + ".t (id int PRIMARY KEY)");
  }
  world.add("t");
  world.open();
  world.db().run(
      "INSERT INTO millrace.applied SELECT 'other', epoch, timeline, end_lsn, commit_lsn, "
      "commit_time, "
      "system_identifier, token, manifest_offset FROM millrace.applied");
  std::string sql;
  REQUIRE(world.target->teardown(&sql));
  CHECK(contains(sql, "DROP COLUMN IF EXISTS _millrace"));
  CHECK(world.db().one("SELECT count(*) FROM millrace.applied") == "2");
  REQUIRE(world.target->teardown(nullptr));
  CHECK(world.db().one("SELECT pipeline FROM millrace.applied") == "other");
  CHECK(world.db().one(
            "SELECT count(*) FROM pg_attribute WHERE attname = '_millrace' AND NOT attisdropped") ==
        "0");
  world.db().run("DELETE FROM millrace.applied");
  REQUIRE(world.target->teardown(nullptr));
  CHECK(world.db().one("SELECT count(*) FROM pg_namespace WHERE nspname = 'millrace'") == "0");
  REQUIRE(world.target->teardown(nullptr));
}

TEST_CASE("teardown: a role that may not is told all at once, and removes nothing") {
  World world;
  world.db().run("DROP ROLE IF EXISTS stays_out; CREATE ROLE stays_out LOGIN");
  for (const char* name : {"t", "u", "mine"}) {
    for (const char* schema : {"src", "dst"}) {
      world.db().run(std::string("CREATE TABLE ") + schema + "." + name + " (id int PRIMARY KEY)");
    }
    world.add(name);
  }
  world.open();
  world.db().run(
      "ALTER TABLE dst.mine OWNER TO stays_out; GRANT ALL ON SCHEMA dst, millrace TO stays_out; "
      "GRANT ALL ON ALL TABLES IN SCHEMA millrace TO stays_out");
  postgres::Options options = world.options;
  options.dsn += " user=stays_out";
  auto target = open_target(options);
  const Status denied = target->teardown(nullptr);
  REQUIRE_FALSE(denied);
  CHECK(denied.error().hint() ==
        "let a privileged role run this, then repeat the command: ALTER TABLE \"dst\".\"t\" DROP "
        "COLUMN IF EXISTS _millrace; "
        "ALTER TABLE \"dst\".\"u\" DROP COLUMN IF EXISTS _millrace; DROP SCHEMA millrace CASCADE");
  CHECK(world.db().one("SELECT count(*) FROM pg_attribute WHERE attname = '_millrace' AND NOT "
                       "attisdropped AND attrelid = 'dst.mine'::regclass") == "1");
  // The rest is the role's own to do.
  world.db().run(denied.error().hint().substr(
      std::string("let a privileged role run this, then repeat the command: ").size()));
  REQUIRE(target->teardown(nullptr));
  CHECK(world.db().one("SELECT count(*) FROM pg_attribute WHERE attname = '_millrace' AND NOT "
                       "attisdropped") == "0");
  target.reset();
  world.db().run("DROP OWNED BY stays_out CASCADE; DROP ROLE stays_out");
}
