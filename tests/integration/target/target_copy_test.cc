// Rows that are new at the source go by COPY, and by the guarded statement where one is in the way.
#include <random>

#include <doctest/doctest.h>

#include "tests/integration/target/target_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

constexpr int kMany = 200;

// src.t and dst.t of these columns; a trigger of dst.t counts the rows that came by COPY.
struct CopyWorld : World {
  explicit CopyWorld(const std::string& columns) {
    for (const char* schema : {"src.", "dst."}) {
      db().run("CREATE TABLE " + (schema + ("t (" + columns)) + ")");
    }
    db().run(
        "CREATE TABLE dst.copied (n int); INSERT INTO dst.copied VALUES (0);"
        "CREATE FUNCTION dst.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF current_query() LIKE '%COPY %' THEN UPDATE dst.copied SET n = n + 1; END IF; "
        "RETURN NEW; END $$;"
        "CREATE TRIGGER note BEFORE INSERT ON dst.t FOR EACH ROW EXECUTE FUNCTION dst.note()");
    t = add("t");
    open();
  }
  std::string copied() { return db().one("SELECT n FROM dst.copied"); }
  TableSchemaPtr t;
};

// Rows [from, to) with two columns.
void insert(History& h, const TableSchemaPtr& t, int from, int to, const std::string& value) {
  for (int i = from; i < to; ++i) h.insert(t, {text(std::to_string(i)), text(value)});
}

}  // namespace

TEST_CASE("copy: rows that are new go by COPY, with their version; few rows do not") {
  CopyWorld world("id int PRIMARY KEY, v text");
  History h(1000);
  insert(h, world.t, 0, kMany, "a");
  h.update(world.t, {text("0"), text("b")});  // new all the same
  CHECK(world.apply_error(h) == "");
  CHECK(world.copied() == "200");
  CHECK(world.db().one("SELECT v FROM dst.t WHERE id = 0") == "b");
  CHECK(world.db().one(
            "SELECT count(DISTINCT _millrace) FROM dst.t WHERE length(_millrace) = 16") == "200");
  History few(2000);
  insert(few, world.t, kMany, kMany + 5, "a");
  // Rows that were there before may be newer: never by COPY.
  for (int i = 0; i < kMany; ++i) few.update(world.t, {text(std::to_string(i)), text("c")});
  for (int i = 0; i < kMany; ++i) few.remove(world.t, {text(std::to_string(i)), null()});
  for (int i = 0; i < kMany; ++i) few.insert(world.t, {text(std::to_string(i)), text("d")});
  CHECK(world.apply_error(few) == "");
  CHECK(world.copied() == "200");
  CHECK(world.db().one("SELECT count(*) FROM dst.t WHERE v = 'd'") == "200");
}

TEST_CASE("copy: a key that is there already is left to the guard") {
  CopyWorld world("id int PRIMARY KEY, v text");
  world.db().run(
      "INSERT INTO dst.t VALUES (7, 'newer', decode(repeat('7f', 16), 'hex')),"
      "(8, 'older', decode(repeat('00', 16), 'hex')), (9, 'unknown', NULL)");
  History h(1000);
  insert(h, world.t, 0, kMany, "a");
  CHECK(world.apply_error(h) == "");
  CHECK(world.db().run("SELECT id, v FROM dst.t WHERE v <> 'a' ORDER BY 1") ==
        Table{{"7", "newer"}});
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "200");
  CHECK(world.copied() == "0");
  // A replay of the same does not shake it either.
  CHECK(world.apply_error(h) == "");
  CHECK(world.db().one("SELECT count(*) FROM dst.t WHERE v = 'a'") == "199");
  // For a while the table does without, then COPY is tried again.
  int tries = 0;
  for (; tries < 20 && world.copied() == "0"; ++tries) {
    History more(5000 + 1000 * static_cast<uint64_t>(tries));
    insert(more, world.t, kMany * (tries + 1), kMany * (tries + 2), "a");
    REQUIRE(world.apply_error(more) == "");
  }
  CHECK(tries > 2);
  CHECK(world.copied() == "200");
}

TEST_CASE("copy: values arrive byte for byte, also without a key") {
  for (const char* key : {"PRIMARY KEY", ""}) {
    CAPTURE(key);
    CopyWorld world(std::string("id int ") + key + ", v text, b bytea, c varchar(2000)");
    std::vector<std::string> values = {"",
                                       "\\",
                                       "\\N",
                                       "\\.",
                                       "\\\\N",
                                       "\t",
                                       "a\tb",
                                       "\n",
                                       "\r\n",
                                       "\\n",
                                       "\b\f\v\x01",
                                       "\x7f",
                                       "\xc3\xa9\xe2\x82\xac",
                                       "NULL",
                                       "\"",
                                       "'",
                                       ",",
                                       " x "};
    std::mt19937 random(7);
    const std::string letters = "\\\t\n\r\b\f\vN.abcdefgh \xc3\xa4";
    while (values.size() < 1500) {
      std::string value;
      for (size_t n = random() % 60; n > 0; --n) {
        const size_t at = random() % (letters.size() - 1);
        value += at + 2 == letters.size() ? letters.substr(at) : letters.substr(at, 1);
      }
      values.push_back(std::move(value));
    }
    values.push_back(std::string(3'000'000, '\\') + "\n");
    History h(1000);
    int id = 0;
    for (const std::string& value : values) {
      const std::string hex = "\\x5c0a" + std::string(id % 2 == 0 ? "" : "00");
      const std::string n = std::to_string(id++);
      h.insert(world.t, {text(n), text(value), text(hex), id % 3 == 0 ? null() : text("x")});
    }
    CHECK(world.apply_error(h) == "");
    CHECK(world.copied() == std::to_string(values.size()));
    const Table got = world.db().run(
        "SELECT encode(convert_to(v, 'UTF8'), 'hex'), b, c FROM dst.t "
        "ORDER BY id");
    REQUIRE(got.size() == values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      std::string hex;
      for (const char c : values[i]) {
        constexpr const char* digits = "0123456789abcdef";
        hex += digits[static_cast<uint8_t>(c) >> 4];
        hex += digits[static_cast<uint8_t>(c) & 15];
      }
      if (hex != got[i][0]) FAIL("row ", i);
      CHECK(got[i][1] == (i % 2 == 0 ? "\\x5c0a" : "\\x5c0a00"));
      CHECK(got[i][2] == (i % 3 == 2 ? "\\N" : "x"));
    }
  }
}

TEST_CASE("copy: identity, generated columns, defaults and rounding are as in a statement") {
  CopyWorld world("id int PRIMARY KEY, n numeric, v text, at text");
  world.db().run(
      "ALTER TABLE dst.t ALTER id ADD GENERATED ALWAYS AS IDENTITY, ALTER n TYPE numeric(6,1), "
      "ALTER v TYPE char(4), ALTER at TYPE timestamptz(0) USING NULL, "
      "ADD twice int GENERATED ALWAYS AS (id * 2) STORED, ADD extra text DEFAULT 'd'");
  const auto rows = [&](int from, int to) {
    History h(static_cast<uint64_t>(1000 + from));
    for (int i = from; i < to; ++i) {
      h.insert(world.t, {text(std::to_string(i)), text("1.25"), text("ab  "),
                         text("2026-01-01 00:00:00.6+00")});
    }
    CHECK(world.apply_error(h) == "");
  };
  rows(0, kMany);
  CHECK(world.copied() == "200");
  rows(kMany, kMany + 3);  // by the statement
  CHECK(world.copied() == "200");
  const std::string columns = "n, v::text, length(v), at, twice - 2 * id, extra";
  CHECK(world.db().one("SELECT count(*) FROM (SELECT DISTINCT " + columns + " FROM dst.t) d") ==
        "1");
  CHECK(world.db().one("SELECT n FROM dst.t LIMIT 1") == "1.3");
}
