// Chunks of binary tuples: the table is what text makes of it, or nothing is written and text is
// asked for.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/integration/target/history_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

constexpr Lsn kFloor{5000};

struct Binary : HistoryWorld {
  TableSchemaPtr t;
  int64_t id = 0;

  explicit Binary(const std::string& columns, const std::string& target_columns = "",
                  const sink::TableMapping& mapping = {}) {
    db().run("CREATE TABLE src.t (" + columns + "); CREATE TABLE dst.t (" +
             (target_columns.empty() ? columns : target_columns) + ")");
    t = add("t", mapping);
    open();
    id = run_job(t, kFloor);
  }
  void check_same() { CHECK(db().rows("dst.t") == db().rows("src.t")); }
};

}  // namespace

TEST_CASE(
    "chunk in binary: every type that may go so arrives byte for byte, with the version of text") {
  Binary world(
      "id int PRIMARY KEY, c1 bool, c2 bytea, c3 int8, c4 int2, c5 text, c6 oid, c7 json, c8 "
      "float4, "
      "c9 float8, c10 char(5), c11 varchar(9), c12 date, c13 time(2), c14 timestamp(3), c15 "
      "timestamptz, c16 timetz, c17 numeric(12,2), c18 uuid, c19 jsonb, c20 numeric");
  world.db().run(
      "INSERT INTO src.t VALUES (2, true, '\\x00ff5c0a', -9223372036854775808, -32768, "
      "E'tab\\tnl\\ncr\\rback\\\\slash ž', 4294967295, '{\"a\" : [1, \"\\\\n\"]}', '1e-10', "
      "'-Infinity', 'ab', 'nine char', '4713-01-01 BC', '23:59:59.99', '1999-01-08 04:05:06.789', "
      "'infinity', '04:05:06.789-08', '-9999999999.99', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', "
      "'{\"b\": null, \"a\": \"\\\\t\"}', 'NaN'), (3, false, '', 0, 0, '', 0, '0', '-0', 'NaN', "
      "'', '', "
      "'infinity', '24:00', '-infinity', '-infinity', '00:00+14', 'NaN', "
      "'00000000-0000-0000-0000-000000000000', '[]', 0.10000)");
  world.db().run("INSERT INTO src.t (id) VALUES (1), (-2147483648), (2147483647)");
  world.db().run("INSERT INTO src.t (id, c5) VALUES (4, repeat('5 MB \\ x', 700000))");
  CHECK_FALSE(world.box().takes_binary());
  REQUIRE(world.write(world.read(world.id, world.t, kFloor, "id = 1")));
  CHECK(world.box().takes_binary());
  REQUIRE(world.write(world.read(world.id, world.t, kFloor, "id <> 1", true)));
  CHECK(world.box().takes_binary());
  world.check_same();
  CHECK(world.db().one("SELECT count(DISTINCT _millrace) FROM dst.t") == "1");
  CHECK(world.job(world.id).rows_done == 6);
}

TEST_CASE("chunk in binary: rows that stand and keys that were deleted are left out") {
  for (const char* columns :
       {"a int, b text, v text, PRIMARY KEY (a)", "v text, a uuid PRIMARY KEY, b text",
        "b text, v text, a int8, PRIMARY KEY (b, a)"}) {
    CAPTURE(columns);
    Binary world(columns);
    const bool uuid_key = std::string(columns).find("uuid") != std::string::npos;
    world.db().run(
        fmt::format("INSERT INTO src.t (a, b, v) SELECT {}, E'b\\\\' || i, 'v' || i FROM "
                    "generate_series(1, 60) i",
                    uuid_key ? "md5(i::text)::uuid" : "i - 20"));
    const Table keys = world.db().run("SELECT a, b FROM src.t ORDER BY a");
    History changes(6000);
    for (size_t i = 0; i < keys.size(); ++i) {
      std::vector<Value> row;
      for (const Column& column : world.t->columns) {
        row.push_back(column.name == "v" ? text("streamed")
                                         : text(keys[i][column.name == "a" ? 0 : 1]));
      }
      if (i % 3 == 0) changes.update(world.t, row);
      if (i % 3 == 1) changes.remove(world.t, row);
    }
    world.must_apply(changes);
    REQUIRE(world.write(world.read(world.id, world.t, kFloor, "true", true)));
    CHECK(world.db().one("SELECT count(*) FROM dst.t") == "40");
    CHECK(world.db().one("SELECT count(*) FROM dst.t WHERE v = 'streamed'") == "20");
  }
}

TEST_CASE("chunk in binary: what must come as text is refused, and nothing is written") {
  {
    Binary world("id int PRIMARY KEY, v text", "id int PRIMARY KEY, v varchar(5)");
    world.db().run("INSERT INTO src.t VALUES (1, 'short')");
    REQUIRE(world.write(world.read(world.id, world.t, kFloor)));
    CHECK_FALSE(world.box().takes_binary());  // another type
    world.db().run("INSERT INTO src.t VALUES (2, 'other')");
    CHECK(contains(world.write_error(world.read(world.id, world.t, kFloor, "id = 2", true)),
                   "negative"));
    REQUIRE(world.write(world.read(world.id, world.t, kFloor, "id = 2")));
    world.check_same();
  }
  {
    Binary world("id int PRIMARY KEY, v varchar(10)", "id int PRIMARY KEY, v varchar(5)");
    world.db().run("INSERT INTO src.t VALUES (1, 'short'), (2, 'too long')");
    CHECK(contains(world.write_error(world.read(world.id, world.t, kFloor, "true", true)),
                   "negative"));
    CHECK(world.db().one("SELECT count(*) FROM dst.t") == "0");
    CHECK(contains(world.write_error(world.read(world.id, world.t, kFloor)), "key (id)=(2)"));
  }
  {
    sink::TableMapping filtered;
    filtered.where = "id > 1";
    Binary world("id int PRIMARY KEY, v text", "", filtered);
    world.db().run("INSERT INTO src.t VALUES (1, 'a'), (2, 'b')");
    CHECK(contains(world.write_error(world.read(world.id, world.t, kFloor, "true", true)),
                   "negative"));
    REQUIRE(world.write(world.read(world.id, world.t, kFloor)));
    CHECK_FALSE(world.box().takes_binary());
    CHECK(world.db().one("SELECT count(*) FROM dst.t") == "1");
  }
}

TEST_CASE("chunk in binary: tuples that are cut off are not written") {
  Binary world("id int PRIMARY KEY, v text");
  world.db().run("INSERT INTO src.t VALUES (1, 'a'), (2, 'b')");
  sink::Chunk chunk = world.read(world.id, world.t, kFloor, "true", true);
  chunk.copy.pop_back();
  CHECK(contains(world.write_error(chunk), "a chunk of 2 rows holds 1 whole tuples"));
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "0");
}
