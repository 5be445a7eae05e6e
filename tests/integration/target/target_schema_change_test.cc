// adapt: columns that the source has got are added to the target, and nothing else is done to it.
#include <doctest/doctest.h>

#include "tests/integration/target/target_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct Changed {
  World world;
  Changed() {
    world.db().run(
        "CREATE TABLE src.t (id int PRIMARY KEY, v text); CREATE TABLE dst.t (id int PRIMARY KEY, "
        "v text)");
    world.options.add_columns = true;
    world.add("t");
  }
  // The source's shape after `sql`.
  TableSchemaPtr change(const std::string& sql) {
    world.db().run(sql);
    return shape_of(world.db(), "src", "t");
  }
  Status adapt(const TableSchemaPtr& shape) {
    REQUIRE(world.target->applied());
    const TableSchemaPtr shapes[] = {shape};
    return world.target->adapt(shapes);
  }
  Table columns() {
    return world.db().run(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute WHERE "
        "attrelid = 'dst.t'::regclass AND attnum > 2 AND NOT attisdropped AND attname <> "
        "'_millrace' ORDER BY attnum");
  }
};

}  // namespace

TEST_CASE("adapt: adds what is new with the source's types, once, and rows follow") {
  Changed c;
  c.world.open();
  const auto shape = c.change(
      "CREATE TYPE public.mood AS ENUM ('ok'); ALTER TABLE src.t ADD a numeric(12,2) NOT NULL "
      "DEFAULT 1, ADD b varchar(7)[], ADD c timestamptz(3), ADD m public.mood, ADD \"Odd \"\"n\" "
      "char(2)");
  REQUIRE(c.adapt(shape));
  const Table added{{"a", "numeric(12,2)", "f"},
                    {"b", "character varying(7)[]", "f"},
                    {"c", "timestamp(3) with time zone", "f"},
                    {"m", "mood", "f"},
                    {"Odd \"n", "character(2)", "f"}};
  CHECK(c.columns() == added);
  REQUIRE(c.adapt(shape));
  CHECK(c.columns() == added);
  History h;
  h.insert(shape, {text("1"), text("x"), text("1.50"), text("{a}"), null(), text("ok"), null()});
  CHECK(c.world.apply_error(h) == "");
  CHECK(c.world.db().run("SELECT a, b, m FROM dst.t") == Table{{"1.50", "{a}", "ok"}});
}

TEST_CASE("adapt: off, it does nothing") {
  Changed c;
  c.world.options.add_columns = false;
  c.world.open();
  REQUIRE(c.adapt(c.change("ALTER TABLE src.t ADD a int")));
  CHECK(c.columns().empty());
}

TEST_CASE("adapt: a rename and an unknown type are left, and named when rows come") {
  Changed c;
  c.world.db().run("ALTER TABLE src.t ADD w int; ALTER TABLE dst.t ADD w int");
  c.world.options.tables.clear();
  c.world.shapes.clear();
  c.world.add("t");
  c.world.open();
  const auto renamed = c.change("ALTER TABLE src.t RENAME v TO v2");
  REQUIRE(c.adapt(renamed));
  CHECK(c.columns() == Table{{"w", "integer", "f"}});
  History h;
  h.insert(renamed, {text("1"), text("x"), text("1")});
  const std::string error = c.world.apply_error(h);
  CHECK(contains(error, "bad_data: the target has no column v2"));
  CHECK(contains(error, "RENAME COLUMN \"v\" TO \"v2\""));
  const auto unknown = c.change(
      "CREATE TYPE src.here AS ENUM ('a'); ALTER TABLE src.t RENAME v2 TO v; ALTER TABLE src.t ADD "
      "h src.here");
  TableSchema elsewhere = *unknown;
  elsewhere.columns.back().type_schema = "nowhere";
  const auto sealed = seal_schema(std::move(elsewhere));
  REQUIRE(c.adapt(sealed));
  History more(5000);
  more.insert(sealed, {text("1"), text("x"), text("1"), text("a")});
  CHECK(contains(c.world.apply_error(more), "create the type nowhere.here"));
  CHECK(c.columns() == Table{{"w", "integer", "f"}});
}

TEST_CASE("adapt: goes on by itself once a person has made it possible") {
  Changed c;
  c.world.db().run("ALTER TABLE dst.t ADD left_over int");
  c.world.open();
  const auto shape = c.change("ALTER TABLE src.t ADD a int");
  REQUIRE(c.adapt(shape));
  History h;
  h.insert(shape, {text("1"), text("x"), text("5")});
  CHECK(contains(c.world.apply_error(h), "RENAME COLUMN \"left_over\" TO \"a\""));
  c.world.db().run("ALTER TABLE dst.t DROP left_over");
  REQUIRE(c.adapt(shape));
  CHECK(c.world.apply_error(h) == "");
  CHECK(c.world.db().one("SELECT a FROM dst.t") == "5");
}

TEST_CASE("adapt: a table in use is retryable, and leaves no transaction behind") {
  Changed c;
  c.world.open();
  Db reader(c.world.dsn());
  reader.run("BEGIN; LOCK TABLE dst.t IN ACCESS SHARE MODE");
  const auto shape = c.change("ALTER TABLE src.t ADD a int");
  const Status busy = c.adapt(shape);
  REQUIRE_FALSE(busy);
  CHECK(busy.error().code() == ErrorCode::retryable);
  CHECK(contains(busy.error().describe(), "dst.t"));
  reader.run("ROLLBACK");
  REQUIRE(c.adapt(shape));
  CHECK(c.columns().size() == 1);
  CHECK(c.world.db().one("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'") ==
        "0");
}

TEST_CASE("adapt: who may not alter the table is told the SQL") {
  Changed c;
  c.world.db().run(
      "DROP ROLE IF EXISTS adapt_role; CREATE ROLE adapt_role LOGIN; GRANT USAGE ON SCHEMA dst TO "
      "adapt_role; GRANT SELECT, INSERT, UPDATE, DELETE ON dst.t TO adapt_role; ALTER TABLE dst.t "
      "ADD _millrace bytea; CREATE SCHEMA millrace AUTHORIZATION adapt_role");
  c.world.options.dsn = c.world.dsn() + " user=adapt_role";
  c.world.open();
  const Status refused = c.adapt(c.change("ALTER TABLE src.t ADD a int"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::bad_data);
  CHECK(contains(refused.error().describe(), "ADD COLUMN IF NOT EXISTS \"a\" integer"));
  c.world.target.reset();
  c.world.db().run("DROP OWNED BY adapt_role CASCADE; DROP ROLE adapt_role");
}

TEST_CASE("setup and check: with add_columns what is missing is added, and no blocker") {
  Changed c;
  c.world.open();
  const TableSchemaPtr shapes[] = {c.change("ALTER TABLE src.t ADD a int")};
  CHECK(c.world.target->check(shapes)->empty());
  std::string sql;
  REQUIRE(c.world.target->setup(shapes, &sql));
  CHECK(sql == "ALTER TABLE \"dst\".\"t\" ADD COLUMN IF NOT EXISTS \"a\" integer;\n");
  REQUIRE(c.world.target->setup(shapes, nullptr));
  CHECK(c.columns().size() == 1);
  c.world.options.add_columns = false;
  auto plain = open_target(c.world.options);
  c.world.db().run("ALTER TABLE dst.t DROP a");
  CHECK(plain->check(shapes)->size() == 1);
}
