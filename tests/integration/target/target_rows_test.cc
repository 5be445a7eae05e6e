// Tables without a key, rows that the target rejects, and tables that change under the target.
#include <doctest/doctest.h>

#include "tests/integration/target/target_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void both(World& world, const std::string& columns, const std::string& name = "t") {
  for (const char* schema : {"src.", "dst."}) {
    world.db().run("CREATE TABLE " + (schema + name) + " (" + columns + ")");
  }
}

}  // namespace

TEST_CASE("no key: rows are appended, and no version column is added") {
  World world;
  both(world, "a int, b text, c char(4), j json, d numeric(6,2), f float8");
  const auto t = world.add("t");
  world.open();
  History h;
  for (int i = 0; i < 3; ++i) {
    h.insert(t, {text("1"), text("x"), text("ab  "), text("{\"a\":1}"), text("1.50"), text("0.1")});
  }
  h.insert(t, {null(), null(), null(), null(), null(), null()});
  CHECK(world.apply_error(h) == "");
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "4");
  CHECK(world.db().one(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'dst.t'::regclass AND attname = "
            "'_millrace'") == "0");
}

TEST_CASE("no key, REPLICA IDENTITY FULL: one of several equal rows is changed or deleted") {
  World world;
  both(world, "a int, b text, c char(4), j json, x xml, n numeric");
  world.db().run(
      "ALTER TABLE src.t REPLICA IDENTITY FULL; ALTER TABLE dst.t ADD extra int DEFAULT 5");
  const auto t = world.add("t");
  world.open();
  const std::vector<Value> row = {text("1"),         text("x"),    text("ab  "),
                                  text("{\"a\":1}"), text("<a/>"), null()};
  const std::vector<Value> changed = {text("2"),         text("x"),    text("ab  "),
                                      text("{\"a\":1}"), text("<a/>"), text("1.0")};
  History h;
  for (int i = 0; i < 3; ++i) h.insert(t, row);
  REQUIRE(world.apply(h));
  world.db().run("UPDATE dst.t SET extra = 6");
  History more(5000);
  more.update(t, changed, row);
  more.remove(t, row);
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT a, n, extra FROM dst.t ORDER BY a") ==
        Table{{"1", "\\N", "6"}, {"2", "1.0", "6"}});
  History none(9000);
  none.remove(t, {text("9"), text("x"), null(), null(), null(), null()});
  CHECK(contains(world.apply_error(none), "no such row"));
}

TEST_CASE("bad rows: one in thousands is named with its key and the target's words") {
  World world;
  world.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY, v text, n int);"
      "CREATE TABLE dst.t (id int PRIMARY KEY, v text NOT NULL, n int CHECK (n < 1000000))");
  const auto t = world.add("t");
  world.open();
  const auto batch = [&](uint64_t lsn, Value v, Value n) {
    History h(lsn);
    for (int i = 0; i < 3000; ++i) {
      const std::string id = std::to_string(i);
      h.insert(t, i == 1234 ? std::vector<Value>{text(id), v, n}
                            : std::vector<Value>{text(id), text("v"), text(id)});
    }
    return world.apply_error(h);
  };
  struct Case {
    Value v, n;
    const char* says;
  };
  for (const Case& c : {Case{null(), text("1"), "violates not-null constraint"},
                        Case{text("v"), text("2000000"), "violates check constraint"},
                        Case{text("v"), text("abc"), "invalid input syntax for type integer"},
                        Case{text("v"), text("99999999999"), "out of range"},
                        Case{text("\xff\xfe"), text("1"), "invalid byte sequence"},
                        Case{text(std::string_view("a\0b", 3)), text("1"), "NUL byte"}}) {
    CAPTURE(c.says);
    const std::string error = batch(5000, c.v, c.n);
    CHECK(contains(error, "bad_data: "));
    CHECK(contains(error, c.says));
    CHECK(contains(error, "key (id)=(1234)"));
    CHECK(contains(error, "position 1:0/1388:1234"));
  }
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "0");
  CHECK(batch(5000, text("v"), text("1")) == "");
}

TEST_CASE("schema: a column added or retyped under the running target is seen") {
  World world;
  both(world, "id int PRIMARY KEY, v text");
  const auto t = world.add("t");
  world.open();
  History h;
  h.insert(t, {text("1"), text("5")});
  REQUIRE(world.apply(h));
  world.db().run("ALTER TABLE dst.t ALTER COLUMN v TYPE int USING v::int");
  History more(5000);
  more.insert(t, {text("2"), text("6")});
  const std::string first = world.apply_error(more);
  CHECK((first.empty() || contains(first, "retryable: ")));
  CHECK(world.apply_error(more) == "");
  world.db().run("ALTER TABLE src.t ADD w int");
  const auto wider = shape_of(world.db(), "src", "t");
  History lacks(9000);
  lacks.insert(wider, {text("3"), text("7"), text("8")});
  const std::string error = world.apply_error(lacks);
  CHECK(contains(error, "bad_data: "));
  CHECK(contains(error, "ADD COLUMN \"w\" integer"));
  world.db().run("ALTER TABLE dst.t ADD w int");
  CHECK(world.apply_error(lacks) == "");
  world.db().run("ALTER TABLE dst.t DROP COLUMN w");
  History gone(12000);
  gone.insert(wider, {text("4"), text("7"), text("8")});
  CHECK(contains(world.apply_error(gone), "retryable: "));
  CHECK(contains(world.apply_error(gone), "has no column w"));
}
