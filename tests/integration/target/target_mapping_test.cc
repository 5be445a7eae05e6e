// Mapping: renames, expressions, filters, and updates that lack values.
#include <doctest/doctest.h>

#include "tests/integration/target/target_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

sink::TableMapping mapping_with(std::vector<sink::TableMapping::Expression> expressions,
                                std::vector<std::string> dropped = {}, std::string where = {}) {
  sink::TableMapping mapping;
  mapping.expressions = std::move(expressions);
  mapping.dropped = std::move(dropped);
  mapping.where = std::move(where);
  return mapping;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("mapping: expressions see the source's types, drops do not travel, names may meet") {
  World world;
  world.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY, amount numeric, memo text, at timestamptz);"
      "CREATE TABLE dst.t (id int PRIMARY KEY, amount_cents bigint, memo text, day date, src "
      "text)");
  const auto t =
      world.add("t", mapping_with({{"amount_cents", "round(amount * 100)::bigint -- cents"},
                                   {"memo", "coalesce(memo, '') || id"},
                                   {"day", "(at AT TIME ZONE 'UTC')::date"},
                                   {"src", "'shop'"}},
                                  {"amount", "at"}));
  world.open();
  History h;
  h.insert(t, {text("1"), text("12.345"), null(), text("2020-01-02 23:00:00+00")});
  h.insert(t, {text("2"), null(), text("m"), null()});
  CHECK(world.apply_error(h) == "");
  CHECK(world.db().run("SELECT id, amount_cents, memo, day, src FROM dst.t ORDER BY id") ==
        Table{{"1", "1235", "1", "2020-01-02", "shop"}, {"2", "\\N", "m2", "\\N", "shop"}});
  History more(5000);
  more.update(t, {text("2"), text("1"), text("n"), null()});
  more.remove(t, {text("1"), null(), null(), null()});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT id, amount_cents, memo FROM dst.t") == Table{{"2", "100", "n2"}});
}

TEST_CASE("mapping: a partial update leaves exactly the columns that lean on what it lacks") {
  World world;
  world.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY, a text, big text, big2 text);"
      "CREATE TABLE dst.t (id int PRIMARY KEY, a text, upper_a text, len int, tag text, big2 "
      "text)");
  const auto t = world.add("t", mapping_with({{"upper_a", "upper(a)"},
                                              {"len", "length(big)"},
                                              {"tag", "id || ':' || left(big, 2)"}},
                                             {"big"}));
  world.open();
  History h;
  h.insert(t, {text("1"), text("x"), text("BIGBIG"), text("two")});
  REQUIRE(world.apply(h));
  History more(5000);
  more.update(t, {text("1"), text("y"), unchanged(), text("2")});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT * FROM dst.t").at(0).at(0) == "1");
  CHECK(world.db().run("SELECT a, upper_a, len, tag, big2 FROM dst.t") ==
        Table{{"y", "Y", "6", "1:BI", "2"}});
  History other(9000);
  other.update(t, {text("1"), text("z"), text("B"), unchanged()});
  CHECK(world.apply_error(other) == "");
  CHECK(world.db().run("SELECT a, upper_a, len, tag, big2 FROM dst.t") ==
        Table{{"z", "Z", "1", "1:B", "2"}});
}

TEST_CASE("mapping: an expression over a touched and an untouched value stops with the remedy") {
  World world;
  world.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY, a text, big text);"
      "CREATE TABLE dst.t (id int PRIMARY KEY, a text, both_ text)");
  const auto t = world.add("t", mapping_with({{"both_", "a || big"}}, {"big"}));
  world.open();
  History h;
  h.insert(t, {text("1"), text("x"), text("B")});
  REQUIRE(world.apply(h));
  History more(5000);
  more.update(t, {text("1"), text("y"), unchanged()});
  const std::string error = world.apply_error(more);
  CHECK(contains(error, "bad_data: "));
  CHECK(contains(error, "ALTER TABLE src.t REPLICA IDENTITY FULL"));
  CHECK(contains(error, "both_"));
  CHECK(world.db().run("SELECT a, both_ FROM dst.t") == Table{{"x", "xB"}});
}

TEST_CASE("mapping: where keeps rows out, takes them away, and lets them in") {
  World world;
  world.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY, live bool, v text, big text);"
      "CREATE TABLE dst.t (id int PRIMARY KEY, v text, big text)");
  const auto t = world.add("t", mapping_with({}, {"live"}, "live"));
  world.open();
  History h;
  h.insert(t, {text("1"), text("t"), text("a"), text("B1")});
  h.insert(t, {text("2"), text("f"), text("b"), text("B2")});
  h.insert(t, {text("3"), null(), text("c"), text("B3")});
  h.insert(t, {text("4"), text("t"), text("d"), text("B4")});
  CHECK(world.apply_error(h) == "");
  CHECK(world.db().run("SELECT id FROM dst.t ORDER BY id") == Table{{"1"}, {"4"}});
  History more(5000);
  more.update(t, {text("1"), text("f"), text("a2"), unchanged()});
  more.update(t, {text("2"), text("t"), text("b2"), text("B2")});
  more.update(t, {text("3"), text("f"), text("c2"), unchanged()});  // out before and after
  more.update(t, {text("4"), text("t"), text("d2"), unchanged()});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT id, v, big FROM dst.t ORDER BY id") ==
        Table{{"2", "b2", "B2"}, {"4", "d2", "B4"}});
  History late(9000);
  late.update(t, {text("3"), text("t"), text("c3"), unchanged()});
  const std::string error = world.apply_error(late);
  CHECK(contains(error, "bad_data: "));
  CHECK(contains(error, "(id)=(3)"));
  CHECK(contains(error, "no such row"));
}

TEST_CASE("mapping: a key change under a filter") {
  World world;
  world.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY, live bool, big text);"
      "CREATE TABLE dst.t (id int PRIMARY KEY, live bool, big text)");
  const auto t = world.add("t", mapping_with({}, {}, "live"));
  world.open();
  History h;
  for (const char* id : {"1", "2", "3"}) h.insert(t, {text(id), text("t"), text("B")});
  REQUIRE(world.apply(h));
  History more(5000);
  more.update(t, {text("11"), text("f"), unchanged()}, {text("1"), null(), null()});
  more.update(t, {text("12"), text("t"), unchanged()}, {text("2"), null(), null()});
  more.update(t, {text("13"), text("f"), text("B")}, {text("3"), null(), null()});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT id, big FROM dst.t") == Table{{"12", "B"}});
}

TEST_CASE("mapping: a renamed and a computed key") {
  World world;
  world.db().run(
      "CREATE TABLE src.a (id int PRIMARY KEY, v text, big text);"
      "CREATE TABLE dst.a (customer_id bigint PRIMARY KEY, v text, big text);"
      "CREATE TABLE src.b (tenant int, id int, v text, big text, PRIMARY KEY (id, tenant));"
      "CREATE TABLE dst.b (id text PRIMARY KEY, v text, big text)");
  const auto a = world.add("a", mapping_with({{"customer_id", "id"}}, {"id"}));
  const auto b = world.add("b", mapping_with({{"id", "tenant || '-' || id"}}, {"tenant"}));
  world.open();
  History h;
  h.insert(a, {text("1"), text("x"), text("B")});
  h.insert(a, {text("2"), text("x"), text("B")});
  h.insert(b, {text("7"), text("1"), text("x"), text("B")});
  h.insert(b, {text("7"), text("2"), text("x"), text("B")});
  CHECK(world.apply_error(h) == "");
  History more(5000);
  more.update(a, {text("9"), text("y"), unchanged()}, {text("1"), null(), null()});
  more.remove(a, {text("2"), null(), null()});
  more.update(b, {text("8"), text("1"), text("y"), unchanged()},
              {text("7"), text("1"), null(), null()});
  more.update(b, {text("7"), text("2"), text("z"), unchanged()});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT customer_id, v, big FROM dst.a") == Table{{"9", "y", "B"}});
  CHECK(world.db().run("SELECT id, v, big FROM dst.b ORDER BY id") ==
        Table{{"7-2", "z", "B"}, {"8-1", "y", "B"}});
}

TEST_CASE(
    "mapping: a key that is mapped to fewer columns than it needs can meet itself, and is an "
    "error") {
  World world;
  world.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY, v text); CREATE TABLE dst.t (half int PRIMARY KEY, "
      "v text)");
  const auto t = world.add("t", mapping_with({{"half", "id / 2"}}, {"id"}));
  world.open();
  History h;
  h.insert(t, {text("2"), text("x")});
  h.insert(t, {text("3"), text("y")});
  CHECK(world.apply_error(h) == "");  // one by one the later one wins
  CHECK(world.db().run("SELECT half, v FROM dst.t") == Table{{"1", "y"}});
}

TEST_CASE("mapping: a split, one source table's columns in types of another kind") {
  World world;
  world.db().run(
      "CREATE TYPE public.mood AS ENUM ('sad', 'ok');"
      "CREATE TABLE src.t (id int PRIMARY KEY, m public.mood, tags text[], n int);"
      "CREATE TABLE dst.t (id bigint PRIMARY KEY, m text, mood_rank int, first text, tags text[], "
      "n text)");
  const auto t = world.add(
      "t", mapping_with({{"mood_rank", "CASE WHEN m >= 'ok'::public.mood THEN 1 ELSE 0 END"},
                         {"first", "tags[1]"}}));
  world.open();
  History h;
  h.insert(t, {text("1"), text("ok"), text("{\"a,b\",c}"), text("5")});
  CHECK(world.apply_error(h) == "");
  CHECK(world.db().run("SELECT id, m, mood_rank, first, tags, n FROM dst.t") ==
        Table{{"1", "ok", "1", "a,b", "{\"a,b\",c}", "5"}});
}

TEST_CASE("mapping: what Postgres can not evaluate row by row is refused before it is run") {
  World world;
  world.db().run(
      "CREATE TABLE src.t (id int PRIMARY KEY, v int); CREATE TABLE dst.t (id int PRIMARY KEY, v "
      "int, x int)");
  for (const char* sql :
       {"sum(v)", "generate_series(1, v)", "nope(v)", "missing + 1", "row_number() OVER ()"}) {
    CAPTURE(sql);
    World fresh;
    fresh.db().run(
        "CREATE TABLE src.t (id int PRIMARY KEY, v int); CREATE TABLE dst.t (id int PRIMARY KEY, v "
        "int, x int)");
    const auto t = fresh.add("t", mapping_with({{"x", sql}}));
    fresh.open();
    const auto findings = fresh.target->check(fresh.shapes);
    REQUIRE(findings);
    CHECK_FALSE(findings->empty());
    History h;
    h.insert(t, {text("1"), text("1")});
    CHECK(contains(fresh.apply_error(h), "bad_data: "));
  }
}

TEST_CASE("mapping: an append-only table with expressions and a filter") {
  World world;
  world.db().run(
      "CREATE TABLE src.log (n int, what text); CREATE TABLE dst.log (n int, what text, loud "
      "text)");
  const auto t = world.add("log", mapping_with({{"loud", "upper(what)"}}, {}, "n > 1"));
  world.open();
  History h;
  h.insert(t, {text("1"), text("a")});
  h.insert(t, {text("2"), text("b")});
  h.insert(t, {text("2"), text("b")});
  CHECK(world.apply_error(h) == "");
  CHECK(world.db().run("SELECT n, what, loud FROM dst.log") ==
        Table{{"2", "b", "B"}, {"2", "b", "B"}});
}
