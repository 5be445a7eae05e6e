// The two ways of a chunk, by COPY and by the guarded statement, write the same table.
#include <algorithm>
#include <chrono>
#include <functional>
#include <random>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/integration/target/history_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

constexpr Lsn kFloor{5000};

// The same source table into a target with a plain mapping, and into one whose filter lets every
// row through, so that its rows can not go by COPY.
struct TwoWays {
  HistoryWorld plain, general;
  TableSchemaPtr p, g;
  int64_t plain_job = 0, general_job = 0;

  TwoWays(const std::string& columns, const std::string& rest) {
    sink::TableMapping all;
    all.where = "true";
    p = open(plain, columns, rest, {});
    g = open(general, columns, rest, all);
    plain_job = plain.run_job(p, kFloor);
    general_job = general.run_job(g, kFloor);
  }
  static TableSchemaPtr open(HistoryWorld& world, const std::string& columns,
                             const std::string& rest, const sink::TableMapping& mapping) {
    world.db().run("CREATE SCHEMA IF NOT EXISTS public; CREATE TABLE src.t (" + columns +
                   "); CREATE TABLE dst.t (" + columns + ")" + rest);
    TableSchemaPtr shape = world.add("t", mapping);
    world.open();
    return shape;
  }
  void run(const std::string& sql) {
    plain.db().run(sql);
    general.db().run(sql);
  }
  void apply(const std::function<void(History&, const TableSchemaPtr&)>& make, uint64_t lsn) {
    History one(lsn), other(lsn);
    make(one, p);
    make(other, g);
    plain.must_apply(one);
    general.must_apply(other);
  }
  void write(const std::string& where) {
    CHECK(plain.write(plain.read(plain_job, p, kFloor, where)));
    CHECK(general.write(general.read(general_job, g, kFloor, where)));
  }
  Table rows(HistoryWorld& world) {
    return world.db().run("SELECT t::text FROM dst.t AS t ORDER BY t::text");
  }
  void check_same() { CHECK(rows(plain) == rows(general)); }
  void check_all() {
    check_same();
    CHECK(plain.db().rows("dst.t") == plain.db().rows("src.t"));
  }
};

}  // namespace

TEST_CASE("chunk: every type arrives byte for byte, by both ways") {
  TwoWays world(
      "id int PRIMARY KEY, c1 bool, c2 bytea, c3 \"char\", c4 name, c5 int8, c6 int2, c7 text, c8 "
      "oid, c9 json, c10 xml, c11 point, c12 cidr, c13 float4, c14 float8, c15 macaddr8, c16 "
      "money, c17 macaddr, c18 inet, c19 char(5), c20 varchar(9), c21 date, c22 time(2), c23 "
      "timestamp(3), c24 timestamptz, c25 interval, c26 timetz, c27 numeric(12,2), c28 uuid, c29 "
      "jsonb, c30 int[], c31 text[], c32 box, c33 int4range, c34 bit(3), c35 varbit, c36 tsvector, "
      "\"Odd \"\"name\" numeric, \"Ž x\" text[][], c37 path",
      "");
  world.run(
      "INSERT INTO src.t VALUES (1, true, '\\x00ff5c0a', '\\377', 'a name', -9223372036854775808, "
      "-32768, E'tab\\tnl\\ncr\\rback\\\\slash \\b\\f\\v', 4294967295, '{\"a\" : [1, \"\\\\n\"]}', "
      "'<a b=\"c\">\\N</a>', '(1.5,-2)', '10.0.0.0/8', '1e-10', '-Infinity', "
      "'08:00:2b:01:02:03:04:05', '-1234.56', '08:00:2b:01:02:03', '::1/64', 'ab', 'nine char', "
      "'4713-01-01 BC', '23:59:59.99', '1999-01-08 04:05:06.789', 'infinity', '-1 year 2 mons "
      "+3.5 s', '04:05:06.789-08', '-9999999999.99', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', "
      "'{\"b\": null, \"a\": \"\\\\t\"}', '{1,NULL,3}', "
      "'{\"a,b\",NULL,\"NULL\",\"\",\"\\\\\\\\\"}', "
      "'(2,2),(0,0)', '[1,5)', B'101', B'', 'a:1 fat:2', 'NaN', '{{a,b},{c,NULL}}', "
      "'[(0,0),(1,1)]')");
  world.run("INSERT INTO src.t (id) VALUES (2)");
  world.run(
      "INSERT INTO src.t (id, c2, c7, c19, c20, c31, \"Odd \"\"name\") VALUES (3, '', '', '', '', "
      "'{}', 1e100), (4, '\\x', E'\\\\N', '\\N', E'\\\\.', '{\\\\\\\\N}', -0.0000), (5, NULL, "
      "E'\\\\x41\\\\101', NULL, E'\\\\', NULL, NULL), (6, NULL, repeat('5 MB \\ x', 700000), NULL, "
      "'NULL', NULL, NULL)");
  world.write("true");
  world.check_all();
  CHECK(world.plain.job(world.plain_job).rows_done == 6);
}

TEST_CASE("chunk: keys of several columns, of text and of uuid, and keys that were taken before") {
  for (const char* columns :
       {"v text, a int, b text, PRIMARY KEY (b, a)", "v text, a text PRIMARY KEY, b text",
        "v text, a uuid PRIMARY KEY DEFAULT gen_random_uuid(), b text",
        "v text, a timestamptz, b numeric(10,2), PRIMARY KEY (a, b)"}) {
    CAPTURE(columns);
    TwoWays world(columns, "");
    const bool text_key = std::string(columns).find("a text") != std::string::npos;
    const bool uuid_key = std::string(columns).find("uuid") != std::string::npos;
    const bool time_key = std::string(columns).find("timestamptz") != std::string::npos;
    const std::string a = uuid_key   ? "md5(i::text)::uuid"
                          : time_key ? "'2020-01-01'::timestamptz + i * interval '1 second'"
                          : text_key ? "E'k\\t\\\\' || i || 'ž,\"{}'"
                                     : "i";
    const std::string b = time_key ? "(i % 7) / 3.0" : "E'b''\"\\\\' || (i % 7)";
    world.run("INSERT INTO src.t (v, a, b) SELECT 'v' || i, " + a + ", " + b +
              " FROM generate_series(1, 60) AS i");
    // A third stands already, a third was deleted; the stream says the keys as it does.
    const Table keys = world.plain.db().run("SELECT a, b FROM src.t ORDER BY a, b");
    world.apply(
        [&keys](History& h, const TableSchemaPtr& t) {
          for (size_t i = 0; i < keys.size(); ++i) {
            const std::vector<Value> row = {text("streamed"), text(keys[i][0]), text(keys[i][1])};
            if (i % 3 == 0) h.update(t, row);
            if (i % 3 == 1) h.remove(t, row);
          }
        },
        6000);
    world.write("true");
    world.check_same();
    CHECK(world.plain.db().rows("dst.t").size() == 40);
    CHECK(world.plain.db().one("SELECT count(*) FROM dst.t WHERE v = 'streamed'") == "20");
  }
}

TEST_CASE("chunk: random rows, states and orders end in one table, whichever way") {
  std::mt19937 random(20261121);
  const auto below = [&random](int n) { return static_cast<int>(random() % unsigned(n)); };
  TwoWays world("id int PRIMARY KEY, v text, n int NOT NULL", "");
  world.run("INSERT INTO src.t SELECT i, 'source ' || i, i FROM generate_series(1, 400) AS i");
  uint64_t lsn = 4000;  // the first changes are older than the floor
  for (int from = 1; from <= 400; from += 25) {
    world.apply(
        [&](History& h, const TableSchemaPtr& t) {
          // The same numbers for both.
          std::mt19937 same(static_cast<unsigned>(from));
          for (int i = 0; i < 12; ++i) {
            const std::string id = std::to_string(1 + same() % 400);
            const std::string other = std::to_string(1001 + same() % 400);
            switch (same() % 4) {
              case 0:
                h.update(t, {text(id), text("new"), text("1")});
                break;
              case 1:
                h.remove(t, {text(id), null(), null()});
                break;
              case 2:
                h.update(t, {text(other), text("moved"), text("2")}, {text(id), null(), null()});
                break;
              default:
                h.insert(t, {text(id), text("again"), text("3")});
            }
            h.commit();
          }
        },
        lsn);
    lsn += 2000;
    const int again = std::max(1, from - below(30));
    world.write(fmt::format("id >= {} AND id < {}", again, from + 25));
    world.check_same();
  }
  CHECK(world.plain.db().one("SELECT count(*) > 200 FROM dst.t WHERE v LIKE 'source%'") == "t");
}

TEST_CASE("chunk: lines go by COPY, also around rows that stand and keys that were deleted") {
  TwoWays world("id int PRIMARY KEY, v text",
                "; ALTER TABLE dst.t ADD COLUMN way text; CREATE FUNCTION dst.note() RETURNS "
                "trigger LANGUAGE plpgsql AS $$BEGIN NEW.way := CASE WHEN current_query() LIKE "
                "'%COPY%' THEN 'copy' ELSE 'statement' END; RETURN NEW; END$$; CREATE TRIGGER note "
                "BEFORE INSERT ON dst.t FOR EACH ROW EXECUTE FUNCTION dst.note()");
  world.run("INSERT INTO src.t SELECT i, 'v' || i FROM generate_series(1, 50) AS i");
  world.write("id <= 10");
  world.apply(
      [](History& h, const TableSchemaPtr& t) {
        h.update(t, {text("25"), text("streamed")});
      },
      6000);
  world.write("id > 10 AND id <= 20");
  world.write("id > 20 AND id <= 30");
  world.apply([](History& h, const TableSchemaPtr& t) { h.remove(t, {text("35"), null()}); }, 7000);
  world.write("id > 30");
  CHECK(world.plain.db().run("SELECT way, count(*) FROM dst.t GROUP BY way ORDER BY way") ==
        Table{{"copy", "48"}, {"statement", "1"}});
  CHECK(world.plain.db().run("SELECT v, way FROM dst.t WHERE id = 25") ==
        Table{{"streamed", "statement"}});
  CHECK(world.general.db().run("SELECT way, count(*) FROM dst.t GROUP BY way") ==
        Table{{"statement", "49"}});
}

TEST_CASE("chunk: a row that does not fit is named by either way, and nothing is written") {
  TwoWays world("id int PRIMARY KEY, v varchar(5)", "; ALTER TABLE src.t ALTER v TYPE text");
  world.run(
      "INSERT INTO src.t SELECT i, 'good' FROM generate_series(1, 50) AS i; UPDATE src.t SET "
      "v = 'too long' WHERE id = 33");
  const std::string one =
      world.plain.write_error(world.plain.read(world.plain_job, world.p, kFloor));
  const std::string other =
      world.general.write_error(world.general.read(world.general_job, world.g, kFloor));
  CHECK(one == other);
  CHECK(contains(one, "key (id)=(33)"));
  CHECK(world.rows(world.plain).empty());
  world.run("UPDATE src.t SET v = 'short' WHERE id = 33");
  world.write("true");
  world.check_all();
}

TEST_CASE("chunk: generated and identity columns, and partitions, as the stream writes them") {
  TwoWays world(
      "id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, twice int GENERATED ALWAYS AS (7) "
      "STORED",
      "");
  world.run(
      "INSERT INTO src.t OVERRIDING SYSTEM VALUE SELECT i * 3, 'v' FROM generate_series(1, "
      "9) AS i");
  world.write("id < 15");
  world.write("true");
  world.check_all();
  HistoryWorld parts;
  parts.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY, v text); CREATE TABLE dst.t (id int PRIMARY KEY, v "
      "text) PARTITION BY RANGE (id); CREATE TABLE dst.low PARTITION OF dst.t FOR VALUES FROM (0) "
      "TO (5); CREATE TABLE dst.high PARTITION OF dst.t FOR VALUES FROM (5) TO (100); INSERT INTO "
      "src.t SELECT i, 'v' FROM generate_series(1, 9) AS i");
  const TableSchemaPtr t = parts.add("t");
  parts.open();
  const int64_t id = parts.run_job(t, kFloor);
  CHECK(parts.write(parts.read(id, t, kFloor)));
  CHECK(parts.db().rows("dst.t") == parts.db().rows("src.t"));
}

TEST_CASE("chunk: speed") {
  HistoryWorld world;
  const std::string columns = "aid int PRIMARY KEY, bid int, abalance int, filler char(84)";
  world.db().run("CREATE TABLE src.t (" + columns + "); CREATE TABLE dst.t (" + columns +
                 "); INSERT INTO src.t SELECT i, 1, 0, '' FROM generate_series(1, 100000) AS i");
  const TableSchemaPtr t = world.add("t");
  world.open();
  const int64_t id = world.run_job(t, kFloor);
  std::vector<sink::Chunk> chunks;
  for (int from = 1; from < 100000; from += 10000) {
    chunks.push_back(
        world.read(id, t, kFloor, fmt::format("aid >= {} AND aid < {}", from, from + 10000)));
  }
  const auto measure = [&] {
    const auto start = std::chrono::steady_clock::now();
    for (const sink::Chunk& chunk : chunks) REQUIRE(world.write(chunk));
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
               .count() /
           100000;
  };
  const double empty = measure();
  const double full = measure();
  MESSAGE("us a row of a chunk: into an empty table " << empty << ", where all stand " << full);
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "100000");
  CHECK(empty < 1000);
}
