// Rows in key order against a real Postgres: whatever the key, every row once, in its own order.
#include "relay/source/chunk_reader.h"

#include "relay/event/copy_binary.h"
#include "tests/integration/source/source_fixture.h"

using namespace millrace;
using namespace millrace::source;
using namespace millrace::testing;

namespace {

// Reads a table to its end, `rows` at a time; what came, as one text.
std::string read_all(ChunkReader& reader, const TableToRead& table, uint64_t rows, int& pieces) {
  std::string out;
  RowRange range;
  range.until = must(reader.largest_key(table, {}));
  for (pieces = 1;; ++pieces) {
    const Piece piece = must(reader.read(table, range, {rows, 1U << 20}));
    out += piece.copy;
    if (piece.end) return out;
    REQUIRE(piece.last_key);
    range.after = piece.last_key;
    REQUIRE(pieces < 1000);
  }
}

}  // namespace

TEST_CASE("ChunkReader: every row once, in the key's order, whatever the key") {
  Source source;
  source.run_each(
      {"CREATE TABLE a (b text COLLATE \"und-x-icu\", v text, n int, PRIMARY KEY (n, b))",
       "INSERT INTO a SELECT chr(64 + i % 58) || E'\\t\\\\''' || i, NULL, i / 5 FROM "
       "generate_series(1, 200) i",
       "CREATE TABLE \"Odd \"\"t\" (\"K ey\" uuid PRIMARY KEY, d double precision)",
       "INSERT INTO \"Odd \"\"t\" SELECT md5(i::text)::uuid, i / 3.0 FROM generate_series(1, 99) i",
       "CREATE TABLE p (c char(5), at int, PRIMARY KEY (c, at)) PARTITION BY RANGE (at)",
       "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (50)",
       "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (50) TO (1000)",
       "INSERT INTO p SELECT 'x' || i % 7, i FROM generate_series(1, 100) i",
       "CREATE TABLE parent (id int PRIMARY KEY)",
       "CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent)",
       "INSERT INTO parent VALUES (1), (2)", "INSERT INTO child VALUES (1), (7)"});
  ChunkReader reader(source.options);
  const std::pair<const char*, size_t> tables[] = {
      {"public.a", 200}, {"public.\"Odd \"\"t\"", 99}, {"public.p", 100}, {"public.parent", 2}};
  for (const auto& [name, rows] : tables) {
    CAPTURE(name);
    const TableToRead table = must(reader.table(name));
    int pieces = 0;
    const std::string whole = read_all(reader, table, 10'000, pieces);
    CHECK(pieces == 1);
    CHECK(static_cast<size_t>(std::count(whole.begin(), whole.end(), '\n')) == rows);
    CHECK(read_all(reader, table, 7, pieces) == whole);
    CHECK(pieces == static_cast<int>(rows / 7 + 1));
  }
  // The key's values stand in the table's order, and the index's order is read.
  const TableToRead a = must(reader.table("public.a"));
  REQUIRE(a.key.size() == 2);
  CHECK(a.key[0].name == "n");
  const Piece first = must(reader.read(a, {}, {1, 1000}));
  REQUIRE(first.first_key);
  CHECK((*first.first_key)[1] == "0");
  CHECK((*first.first_key)[0].find("\t\\'") == 1);
}

TEST_CASE("ChunkReader: tuples in binary, with keys as text, where types allow it") {
  Source source;
  source.run_each(
      {"CREATE TABLE b (v text, u uuid, n bigint, m numeric, PRIMARY KEY (n, u))",
       "INSERT INTO b SELECT repeat('v', i % 5), md5(i::text)::uuid, i / 3 - 20, i / 7.0 "
       "FROM generate_series(1, 100) i",
       "CREATE TABLE c (id int PRIMARY KEY, a int[])", "INSERT INTO c VALUES (1, '{1}')",
       "CREATE TABLE d (id numeric PRIMARY KEY)", "INSERT INTO d VALUES (1)",
       "CREATE TABLE e (id int PRIMARY KEY)"});
  ChunkReader reader(source.options);
  const TableToRead b = must(reader.table("public.b"));
  RowRange range;
  uint64_t rows = 0;
  for (bool end = false; !end;) {
    const Piece text = must(reader.read(b, range, {7, 1U << 20}));
    const Piece binary = must(reader.read(b, range, {7, 1U << 20, true}));
    REQUIRE(binary.binary);
    CHECK(binary.rows == text.rows);
    CHECK(binary.end == text.end);
    CHECK(binary.first_key == text.first_key);
    CHECK(binary.last_key == text.last_key);
    std::string_view tuples = binary.copy;
    for (uint64_t i = 0; i < binary.rows; ++i) {
      const auto tuple = take_copy_tuple(tuples);
      REQUIRE(tuple);
      CHECK(copy_field(*tuple, 0)->size() < 5);
      CHECK(copy_field(*tuple, 1)->size() == 16);
    }
    CHECK(tuples.empty());
    rows += binary.rows;
    range.after = binary.last_key;
    end = binary.end;
  }
  CHECK(rows == 100);
  const Piece cut = must(reader.read(b, {}, {100, 1, true}));
  CHECK(cut.rows == 1);
  CHECK_FALSE(cut.end);
  for (const char* name : {"public.c", "public.d"}) {
    const Piece text = must(reader.read(must(reader.table(name)), {}, {7, 1U << 20, true}));
    CHECK_FALSE(text.binary);
    CHECK(text.copy.back() == '\n');
  }
  const Piece none = must(reader.read(must(reader.table("public.e")), {}, {7, 1U << 20, true}));
  CHECK(none.rows == 0);
  CHECK(none.copy.empty());
  CHECK(none.end);
}

TEST_CASE("ChunkReader: what has no order, no row, or no table") {
  Source source;
  source.run_each({"CREATE TABLE none (n int)", "CREATE TABLE empty (id int PRIMARY KEY)",
                   "CREATE TABLE i (a int NOT NULL, b int NOT NULL, g int GENERATED ALWAYS AS (a) "
                   "STORED)",
                   "CREATE UNIQUE INDEX i_a ON i (b DESC, a)",
                   "ALTER TABLE i REPLICA IDENTITY USING INDEX i_a",
                   "INSERT INTO i SELECT n, n % 3 FROM generate_series(1, 20) n"});
  ChunkReader reader(source.options);
  CHECK(must(reader.table("public.none")).key.empty());
  CHECK(reader.table("public.nowhere").error().code() == ErrorCode::bad_data);
  const TableToRead empty = must(reader.table("public.empty"));
  CHECK_FALSE(must(reader.largest_key(empty, {})));
  CHECK_FALSE(must(reader.estimate(empty, {})).value_or(0) > 0);
  CHECK(must(reader.read(empty, {}, {})).end);
  const TableToRead indexed = must(reader.table("public.i"));
  CHECK(indexed.schema->columns.size() == 2);
  CHECK(indexed.key.size() == 2);
  const Piece all = must(reader.read(indexed, {}, {}));
  CHECK(all.rows == 20);
  source.run_each({"ANALYZE i"});
  CHECK(must(reader.estimate(indexed, {})) == 20);
  CHECK(must(reader.estimate(indexed, {KeyValues{"10", "0"}, std::nullopt, ""})));
}

TEST_CASE(
    "ChunkReader: a piece ends behind the row that passes the byte limit, and goes on there") {
  Source source;
  source.run_each({"CREATE TABLE t (id int PRIMARY KEY, v text)",
                   "INSERT INTO t SELECT i, repeat('x', 500000) FROM generate_series(1, 20) i"});
  ChunkReader reader(source.options);
  const TableToRead table = must(reader.table("public.t"));
  RowRange range;
  uint64_t rows = 0;
  int pieces = 0;
  for (bool end = false; !end; ++pieces) {
    const Piece piece = must(reader.read(table, range, {1000, 1'200'000}));
    CHECK(piece.copy.size() < 1'800'000);
    rows += piece.rows;
    end = piece.end;
    range.after = piece.last_key;
  }
  CHECK(rows == 20);
  CHECK(pieces >= 7);
}

TEST_CASE("ChunkReader: ranges, filters, single rows, and what does not parse") {
  Source source;
  source.run_each({"CREATE TABLE t (id int PRIMARY KEY, v text, n int)",
                   "INSERT INTO t SELECT i, 'v' || i, nullif(i, 5) FROM generate_series(1, 50) i"});
  ChunkReader reader(source.options);
  const TableToRead table = must(reader.table("public.t"));
  const RowRange part{KeyValues{"10"}, KeyValues{"20"}, "id % 2 = 0 -- even"};
  must(reader.check(table, part));
  CHECK(must(reader.read(table, part, {})).copy ==
        "12\tv12\t12\n14\tv14\t14\n16\tv16\t16\n18\tv18\t18\n20\tv20\t20\n");
  for (const RowRange& wrong :
       {RowRange{KeyValues{"x"}, {}, ""}, RowRange{KeyValues{"1", "2"}, {}, ""},
        RowRange{{}, {}, "nothing = 1"}, RowRange{{}, {}, "true; drop table t"}}) {
    const auto refused = reader.check(table, wrong);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code() == ErrorCode::config);
  }
  std::vector<KeyValues> absent;
  const Piece found = must(reader.read_keys(table, {{"3"}, {"99"}, {"1"}}, absent));
  CHECK(found.copy == "1\tv1\t1\n3\tv3\t3\n");
  CHECK(absent == std::vector<KeyValues>{{"99"}});
  const std::vector<Value> key{{ValueKind::text, "5"}, {}, {}};
  const auto row = must(reader.row(*table.schema, key));
  REQUIRE(row);
  CHECK((*row)[1].text == "v5");
  CHECK((*row)[2].kind == ValueKind::null);
  const std::vector<Value> none{{ValueKind::text, "500"}, {}, {}};
  CHECK_FALSE(must(reader.row(*table.schema, none)));
  // It reads, and nothing else.
  CHECK_FALSE(reader.query("write", "DELETE FROM public.t"));
}
