// Values land byte for byte: every built-in type, user types, odd names, extremes.
#include <doctest/doctest.h>

#include "tests/integration/target/target_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

constexpr const char* kUserTypes =
    "CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'very \"happy\"');"
    "CREATE DOMAIN public.short AS varchar(5) CHECK (VALUE <> 'bad');"
    "CREATE DOMAIN public.shorter AS public.short CHECK (length(VALUE) < 4);"
    "CREATE TYPE public.pair AS (x int, y text);"
    "CREATE TYPE public.\"Odd Type\" AS ENUM ('a b');"
    "CREATE TYPE public.span AS RANGE (subtype = float8)";

// type and values; every value is inserted into a table of two columns and has to arrive as it is.
struct Sample {
  const char* type;
  std::vector<const char*> values;
};

const std::vector<Sample> kSamples = {
    {"bool", {"true", "false"}},
    {"int2", {"-32768", "32767"}},
    {"int4", {"-2147483648", "0"}},
    {"int8", {"-9223372036854775808", "9223372036854775807"}},
    {"numeric", {"'NaN'", "'Infinity'", "1e-100", "123456789012345678901234567890.000"}},
    {"numeric(10,3)", {"1.500", "-0.001"}},
    {"float4", {"'NaN'", "'-Infinity'", "1.1754944e-38", "3.4028235e+38", "0.1", "'-0'"}},
    {"float8", {"'NaN'", "'Infinity'", "5e-324", "1.7976931348623157e308", "0.1", "'-0'"}},
    {"money", {"'$1,234.56'", "'-$0.01'"}},
    {"text",
     {"''", "'NULL'", "'null'", "E'a\\\\b\"c{d}e,f''\\n\\t'", "' lead and trail '",
      "'\u00e9\u4e2d\U0001F600'"}},
    {"varchar", {"''", "'  '"}},
    {"varchar(3)", {"'abc'", "'a  '"}},
    {"char(5)", {"'ab'", "'  a'", "''"}},
    {"char", {"'x'"}},
    {"\"char\"", {"'x'", "''"}},
    {"name", {"'n'"}},
    {"bytea", {"''", "'\\x00ff5c22'", "E'\\\\\\\\'"}},
    {"date", {"'infinity'", "'-infinity'", "'0001-01-01 BC'", "'5874897-12-31'"}},
    {"time", {"'00:00:00.000001'", "'24:00:00'"}},
    {"timetz", {"'12:00:00+05:30'", "'23:59:59.999999-15:59'"}},
    {"timestamp", {"'infinity'", "'4713-01-01 00:00:00 BC'", "'294276-12-31 23:59:59.999999'"}},
    {"timestamp(3)", {"'2020-01-01 00:00:00.123'"}},
    {"timestamptz", {"'-infinity'", "'2020-06-01 12:00:00.5+09'"}},
    {"interval", {"'1 year -2 mons 3 days -04:05:06.789'", "'-178000000 years'", "'0'"}},
    {"uuid", {"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"}},
    {"json", {"'{\"a\" :  1, \"a\": 2}'", "'null'", "'\"\\u0041\"'"}},
    {"jsonb", {"'{\"a\": [1, null, \"x\\\"y\"]}'", "'null'", "'1.10'"}},
    {"xml", {"'<a>&lt;</a>'", "'text and <b/>'"}},
    {"inet", {"'10.0.0.1/8'", "'::1'"}},
    {"cidr", {"'10.0.0.0/8'"}},
    {"macaddr", {"'08:00:2b:01:02:03'"}},
    {"macaddr8", {"'08:00:2b:01:02:03:04:05'"}},
    {"bit(3)", {"B'101'"}},
    {"bit varying", {"B''", "B'1010101'"}},
    {"bit varying(4)", {"B'1010'"}},
    {"point", {"'(1.5,-2)'"}},
    {"line", {"'{1,2,3}'"}},
    {"lseg", {"'[(0,0),(1,1)]'"}},
    {"box", {"'(1,1),(0,0)'"}},
    {"path", {"'((0,0),(1,1))'", "'[(0,0),(1,1)]'"}},
    {"polygon", {"'((0,0),(1,1),(1,0))'"}},
    {"circle", {"'<(0,0),1>'"}},
    {"tsvector", {"'a:1A b:2'::tsvector", "''"}},
    {"tsquery", {"'a & !b'::tsquery"}},
    {"pg_lsn", {"'16/B374D848'"}},
    {"oid", {"4294967295"}},
    {"xid8", {"'18446744073709551615'"}},
    {"regclass", {"'pg_class'"}},
    {"jsonpath", {"'$.a[*] ? (@ > 1)'"}},
    {"txid_snapshot", {"'10:20:10,14,15'"}},
    {"int4range", {"'[1,5)'", "'empty'", "'(,)'"}},
    {"numrange", {"'[1.10,2.20]'"}},
    {"tstzrange", {"'[2020-01-01 00:00:00+00,infinity)'"}},
    {"int8multirange", {"'{[1,3),[5,7)}'", "'{}'"}},
    {"int4[]", {"'{1,NULL,3}'", "'{}'", "'{{1,2},{3,4}}'", "'[0:1]={1,2}'"}},
    {"text[]", {"'{a,\"b,c\",\"NULL\",NULL,\"\"}'", "ARRAY['q\"q', 'b\\b']"}},
    {"varchar(3)[]", {"'{abc,d}'"}},
    {"bit(3)[]", {"'{101,000}'"}},
    {"timestamptz[]", {"'{\"2020-01-01 00:00:00+00\"}'"}},
    {"bytea[]", {"ARRAY['\\x5c22'::bytea]"}},
    {"box[]", {"'{(1,1),(0,0);(2,2),(1,1)}'"}},
    {"jsonb[]", {"ARRAY['{\"a\": \"b\"}'::jsonb]"}},
    {"public.mood", {"'ok'", "'very \"happy\"'"}},
    {"public.mood[]", {"ARRAY['ok', 'very \"happy\"']::public.mood[]"}},
    {"public.short", {"'abcde'", "''"}},
    {"public.shorter", {"'abc'"}},
    {"public.short[]", {"'{a,b}'"}},
    {"public.pair", {"ROW(1, 'a,b\"c')", "ROW(NULL, '')", "ROW(NULL, NULL)"}},
    {"public.pair[]", {"ARRAY[ROW(1, 'a,b')::public.pair]"}},
    {"public.\"Odd Type\"", {"'a b'"}},
    {"public.span", {"'[1.5,2.5]'"}},
};

}  // namespace

TEST_CASE("target: values of every type arrive byte for byte, inserted, updated and deleted") {
  World world;
  world.db().run(kUserTypes);
  std::vector<TableSchemaPtr> tables;
  for (size_t i = 0; i < kSamples.size(); ++i) {
    const std::string name = "t" + std::to_string(i);
    for (const char* schema : {"src.", "dst."}) {
      world.db().run("CREATE TABLE " + (schema + name) + " (id int PRIMARY KEY, v " +
                     kSamples[i].type + ")");
    }
    world.db().run("INSERT INTO src." + name + " VALUES (0, NULL)");
    for (size_t v = 0; v < kSamples[i].values.size(); ++v) {
      world.db().run("INSERT INTO src." + name + " VALUES (" + std::to_string(v + 1) + ", " +
                     kSamples[i].values[v] + ")");
    }
    tables.push_back(world.add(name));
  }
  world.open();
  History inserts;
  for (const auto& table : tables) world.copy(inserts, table);
  CHECK(world.apply_error(inserts) == "");
  for (size_t i = 0; i < kSamples.size(); ++i) {
    CAPTURE(kSamples[i].type);
    const std::string name = "t" + std::to_string(i);
    CHECK(world.db().rows("dst." + name) == world.db().rows("src." + name));
  }
  // The same values through ON CONFLICT DO UPDATE, over rows that hold something else.
  for (size_t i = 0; i < kSamples.size(); ++i) {
    world.db().run("UPDATE dst.t" + std::to_string(i) + " SET v = NULL");
  }
  History updates(5000);
  for (const auto& table : tables) world.copy(updates, table);
  CHECK(world.apply_error(updates) == "");
  History deletes(9000);
  for (size_t i = 0; i < kSamples.size(); ++i) {
    CAPTURE(kSamples[i].type);
    const std::string name = "t" + std::to_string(i);
    CHECK(world.db().rows("dst." + name) == world.db().rows("src." + name));
    deletes.remove(tables[i], {text("0"), null()});
  }
  CHECK(world.apply_error(deletes) == "");
  CHECK(world.db().one("SELECT count(*) FROM dst.t0 WHERE id = 0") == "0");
}

TEST_CASE("target: keys of every kind of type find their rows") {
  World world;
  world.db().run(kUserTypes);
  const std::vector<Sample> keys = {
      {"int8", {"1", "2"}},
      {"text", {"'a\\b'", "'{\"'"}},
      {"char(4)", {"'a'", "'b'"}},
      {"varchar(9)", {"'x'", "'y'"}},
      {"uuid",
       {"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"}},
      {"bytea", {"'\\x00'", "'\\x01'"}},
      {"numeric", {"1.0", "1.10"}},
      {"public.mood", {"'sad'", "'ok'"}},
      {"public.short", {"'a'", "'b'"}},
      {"int4[]", {"'{1,2}'", "'{3}'"}},
      {"public.pair", {"ROW(1,'a')", "ROW(2,'b')"}},
      {"timestamptz", {"'2020-01-01'", "'2021-01-01'"}},
      {"inet", {"'::1'", "'10.0.0.1'"}},
      {"int4range", {"'[1,2)'", "'[3,4)'"}},
      {"bit(2)", {"B'01'", "B'10'"}},
      {"date", {"'2020-01-01'", "'infinity'"}},
      {"jsonb", {"'{\"a\": 1}'", "'2'"}},
      {"bool", {"true", "false"}},
      {"\"char\"", {"'a'", "'b'"}},
  };
  for (size_t i = 0; i < keys.size(); ++i) {
    CAPTURE(keys[i].type);
    const std::string name = "k" + std::to_string(i);
    for (const char* schema : {"src.", "dst."}) {
      world.db().run("CREATE TABLE " + (schema + name) + " (id " + keys[i].type +
                     " PRIMARY KEY, v text, big text)");
    }
    for (const char* value : keys[i].values) {
      world.db().run("INSERT INTO src." + name + " VALUES (" + value + ", 'v', 'big')");
    }
    world.add(name);
  }
  world.open();
  History inserts;
  for (const auto& shape : world.shapes) world.copy(inserts, shape);
  CHECK(world.apply_error(inserts) == "");
  History changes(5000);
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto rows = world.db().run("SELECT id FROM src.k" + std::to_string(i) + " ORDER BY ctid");
    changes.update(world.shapes[i], {text(rows[0][0]), text("new"), unchanged()});
    changes.remove(world.shapes[i], {text(rows[1][0]), null(), null()});
  }
  CHECK(world.apply_error(changes) == "");
  for (size_t i = 0; i < keys.size(); ++i) {
    CAPTURE(keys[i].type);
    const std::string name = "k" + std::to_string(i);
    world.db().run("DELETE FROM src." + name + " WHERE id = (SELECT id FROM src." + name +
                   " ORDER BY ctid OFFSET 1); UPDATE src." + name + " SET v = 'new'");
    CHECK(world.db().rows("dst." + name) == world.db().rows("src." + name));
  }
}

TEST_CASE("target: a type that lives in another schema brings its own equality") {
  World world;
  if (world.db().one("SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'") == "0")
    return;
  world.db().run("CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext");
  for (const char* schema : {"src", "dst"}) {
    world.db().run(std::string("CREATE TABLE ") + schema +
                   ".t (id ext.citext PRIMARY KEY, v text)");
  }
  const auto t = world.add("t");
  world.open();
  History h;
  h.insert(t, {text("Ann"), text("1")});
  CHECK(world.apply_error(h) == "");
  History next(5000);
  next.update(t, {text("ANN"), text("2")}, {text("Ann"), null()});
  CHECK(world.apply_error(next) == "");
  CHECK(world.db().rows("dst.t") == Table{{"ANN", "2"}});
  History last(9000);
  last.remove(t, {text("ann"), null()});
  CHECK(world.apply_error(last) == "");
  CHECK(world.db().rows("dst.t").empty());
}

TEST_CASE("target: odd names of schemas, tables and columns") {
  World world;
  world.db().run(
      "CREATE SCHEMA \"Odd \"\"schema\"; CREATE TABLE src.\"Order's \"\"t$1\" (\"Id%s\" int "
      "PRIMARY KEY, "
      "\"select\" text, \"a\"\"b\" text, \"c0\" int, \"_millrace_d0\" int, \"t\" int, \"e\" int, "
      "\"\u00e9 \" int);"
      "CREATE TABLE \"Odd \"\"schema\".\"Order's \"\"t$1\" (LIKE src.\"Order's \"\"t$1\" INCLUDING "
      "ALL);"
      "INSERT INTO src.\"Order's \"\"t$1\" VALUES (1, 's', 'ab', 2, 3, 4, 5, 6)");
  sink::TableMapping mapping;
  mapping.target_schema = "Odd \"schema";
  const auto t = world.add("Order's \"t$1", mapping);
  world.open();
  History h;
  world.copy(h, t);
  CHECK(world.apply_error(h) == "");
  CHECK(world.db().rows("\"Odd \"\"schema\".\"Order's \"\"t$1\"") ==
        world.db().rows("src.\"Order's \"\"t$1\""));
}

TEST_CASE("target: values of 30 MB, and a row after them") {
  World world;
  for (const char* schema : {"src", "dst"}) {
    world.db().run(std::string("CREATE TABLE ") + schema +
                   ".t (id int PRIMARY KEY, v text, b bytea)");
  }
  const auto t = world.add("t");
  world.open();
  std::string big(30 << 20, 'x');
  for (size_t i = 0; i < big.size(); i += 1000) big[i] = i % 3 == 0 ? '"' : '\\';
  std::string bytes = "\\x";
  for (size_t i = 0; i < (size_t{15} << 20); ++i) bytes += i % 2 == 0 ? "5c" : "00";
  History h;
  h.insert(t, {text("1"), text(big), text(bytes)});
  h.insert(t, {text("2"), text(big), null()});
  h.insert(t, {text("3"), text("small"), text("\\x")});
  CHECK(world.apply_error(h) == "");
  const auto rows = world.db().rows("dst.t");  // columns b, id, v
  REQUIRE(rows.size() == 3);
  CHECK(world.db().one("SELECT md5(v) FROM dst.t WHERE id = 1") ==
        world.db().one("SELECT md5(v) FROM dst.t WHERE id = 2"));
  CHECK(world.db().run("SELECT v, b FROM dst.t WHERE id = 1") == Table{{big, bytes}});
}

TEST_CASE("target: other column order, extra, generated and identity columns") {
  World world;
  world.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY, a text, n int GENERATED ALWAYS AS IDENTITY, g text "
      "GENERATED "
      "ALWAYS AS (a || '!') STORED);"
      "CREATE TABLE dst.t (extra int DEFAULT 7, g text GENERATED ALWAYS AS (a || '!') STORED, a "
      "text, "
      "n int GENERATED ALWAYS AS IDENTITY, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)");
  const auto t = world.add("t");
  world.open();
  History h;
  h.insert(t, {text("5"), text("x"), text("41")});
  CHECK(world.apply_error(h) == "");
  CHECK(world.db().run("SELECT id, a, n, g, extra FROM dst.t") ==
        Table{{"5", "x", "41", "x!", "7"}});
  world.db().run("UPDATE dst.t SET extra = 8");
  History more(5000);
  more.update(t, {text("5"), text("y"), text("41")});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT id, a, n, g, extra FROM dst.t") ==
        Table{{"5", "y", "41", "y!", "8"}});
}

TEST_CASE("target: source columns that are generated in the target are left to it") {
  World world;
  world.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY, a int, twice int);"
      "CREATE TABLE dst.t (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) "
      "STORED)");
  const auto t = world.add("t");
  world.open();
  History h;
  h.insert(t, {text("1"), text("3"), text("999")});
  CHECK(world.apply_error(h) == "");
  CHECK(world.db().rows("dst.t") == Table{{"3", "1", "6"}});
}

TEST_CASE("target: a value longer than the target's column is an error, not cut") {
  World world;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"varchar(3)", "abcd"},     {"char(3)", "abcd"},        {"bit(3)", "1010"},
      {"bit varying(3)", "1010"}, {"varchar(3)[]", "{abcd}"}, {"public.short", "abcdef"},
      {"numeric(4,2)", "123.45"}};
  world.db().run(kUserTypes);
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string name = "t" + std::to_string(i);
    world.db().run("CREATE TABLE src." + name + " (id int PRIMARY KEY, v text); CREATE TABLE dst." +
                   name + " (id int PRIMARY KEY, v " + cases[i].first + ")");
    world.add(name);
  }
  world.open();
  for (size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(cases[i].first);
    History h;
    h.insert(world.shapes[i], {text("1"), text(cases[i].second)});
    CHECK(world.apply_error(h).find("bad_data: ") == 0);
    History update(5000);
    update.insert(world.shapes[i], {text("1"), null()});
    CHECK(world.apply_error(update) == "");
    History again(9000);
    again.update(world.shapes[i], {text("1"), text(cases[i].second)});
    CHECK(world.apply_error(again).find("bad_data: ") == 0);
  }
}
