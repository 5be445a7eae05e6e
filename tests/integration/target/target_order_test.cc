// What order decides: keys that change or swap, foreign keys, TRUNCATE.
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

TEST_CASE("order: a key change takes the untouched values along") {
  World world;
  both(world, "id int PRIMARY KEY, v text, big text");
  const auto t = world.add("t");
  world.open();
  History h;
  for (const char* id : {"1", "2", "3"})
    h.insert(t, {text(id), text("v"), text(std::string("B") + id)});
  REQUIRE(world.apply(h));
  History more(5000);
  // A chain 1 -> 4 -> 5 with 1 taken anew, and a swap of 2 and 3 through 9.
  more.update(t, {text("4"), text("a"), unchanged()}, {text("1"), null(), null()});
  more.update(t, {text("5"), text("b"), unchanged()}, {text("4"), null(), null()});
  more.insert(t, {text("1"), text("new"), text("N")});
  more.update(t, {text("9"), text("x"), unchanged()}, {text("2"), null(), null()});
  more.update(t, {text("2"), text("y"), unchanged()}, {text("3"), null(), null()});
  more.update(t, {text("3"), text("x"), unchanged()}, {text("9"), null(), null()});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT id, v, big FROM dst.t ORDER BY id") ==
        Table{{"1", "new", "N"}, {"2", "y", "B3"}, {"3", "x", "B2"}, {"5", "b", "B1"}});
}

TEST_CASE("order: a key change of a row that is not there, whole and in part") {
  World world;
  both(world, "id int PRIMARY KEY, big text");
  const auto t = world.add("t");
  world.open();
  History whole;
  whole.update(t, {text("2"), text("B")}, {text("1"), null()});
  CHECK(world.apply_error(whole) == "");
  CHECK(world.db().rows("dst.t") == Table{{"B", "2"}});
  History part(5000);
  part.update(t, {text("4"), unchanged()}, {text("3"), null()});
  const std::string error = world.apply_error(part);
  CHECK(contains(error, "bad_data: "));
  CHECK(contains(error, "key (id)=(4)"));
  CHECK(contains(error, "position 1:0/1388:0"));
}

TEST_CASE("order: a partial update of a missing row names the row; a whole one inserts it") {
  World world;
  both(world, "a int, b text, v text, big text, PRIMARY KEY (a, b)");
  const auto t = world.add("t");
  world.open();
  History h;
  h.insert(t, {text("1"), text("x"), text("v"), text("B")});
  h.update(t, {text("2"), text("y"), text("v"), text("B")});
  REQUIRE(world.apply(h));
  History more(5000);
  more.update(t, {text("1"), text("x"), text("w"), unchanged()});
  more.update(t, {text("3"), text("z"), text("w"), unchanged()});
  const std::string error = world.apply_error(more);
  CHECK(contains(error, "key (a, b)=(3, z)"));
  CHECK(contains(error, "dst.t"));
  CHECK(world.db().one("SELECT count(*) FROM dst.t WHERE v = 'w'") == "0");
}

TEST_CASE("order: two rows swap a unique value") {
  World world;
  both(world, "id int PRIMARY KEY, u text UNIQUE");
  const auto t = world.add("t");
  world.open();
  History h;
  for (int i = 0; i < 300; ++i) {
    const std::string id = std::to_string(i);
    h.insert(t, {text(id), text("u" + id)});
  }
  REQUIRE(world.apply(h));
  History more(5000);
  for (int i = 300; i < 500; ++i) {
    const std::string id = std::to_string(i);
    more.insert(t, {text(id), text("u" + id)});
    if (i != 400) continue;
    more.update(t, {text("1"), text("tmp")});
    more.update(t, {text("2"), text("u1")});
    more.update(t, {text("1"), text("u2")});
  }
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT u FROM dst.t WHERE id IN (1, 2) ORDER BY id") ==
        Table{{"u2"}, {"u1"}});
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "500");
}

TEST_CASE("order: a unique value passes from a deleted row to a new one, and between updates") {
  World world;
  both(world, "id int PRIMARY KEY, u text UNIQUE, big text");
  const auto t = world.add("t");
  world.open();
  History h;
  h.insert(t, {text("1"), text("a"), text("B")});
  h.insert(t, {text("2"), text("b"), text("B")});
  REQUIRE(world.apply(h));
  History more(5000);
  more.remove(t, {text("1"), null(), null()});
  more.insert(t, {text("3"), text("a"), text("B")});
  more.update(t, {text("2"), text("c"), unchanged()});
  more.insert(t, {text("4"), text("b"), text("B")});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT id, u FROM dst.t ORDER BY id") ==
        Table{{"2", "c"}, {"3", "a"}, {"4", "b"}});
}

TEST_CASE("order: a swap of primary keys without large values") {
  World world;
  both(world, "id int PRIMARY KEY, v text");
  const auto t = world.add("t");
  world.open();
  History h;
  h.insert(t, {text("1"), text("one")});
  h.insert(t, {text("2"), text("two")});
  REQUIRE(world.apply(h));
  History more(5000);
  more.update(t, {text("9"), text("one")}, {text("1"), null()});
  more.update(t, {text("1"), text("two")}, {text("2"), null()});
  more.update(t, {text("2"), text("one")}, {text("9"), null()});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT id, v FROM dst.t ORDER BY id") == Table{{"1", "two"}, {"2", "one"}});
}

TEST_CASE(
    "order: parents before children, children deleted before parents, whatever the tables' order") {
  World world;
  for (const char* schema : {"src", "dst"}) {
    const std::string s = schema;
    world.db().run("CREATE TABLE " + s + ".zparent (id int PRIMARY KEY); CREATE TABLE " + s +
                   ".child (id int PRIMARY KEY, p int NOT NULL REFERENCES " + s +
                   ".zparent); CREATE TABLE " + s +
                   ".agrand (id int PRIMARY KEY, c int NOT NULL REFERENCES " + s + ".child)");
  }
  const auto grand = world.add("agrand");
  const auto child = world.add("child");
  const auto parent = world.add("zparent");
  world.open();
  History h;
  h.insert(parent, {text("1")});
  h.insert(child, {text("1"), text("1")});
  h.insert(grand, {text("1"), text("1")});
  CHECK(world.apply_error(h) == "");
  // Re-parented: the new parent comes before the child's update, the old one goes after it. In bulk
  // the delete of the old parent comes first and conflicts: source order has the answer.
  History moved(5000);
  moved.insert(parent, {text("2")});
  moved.update(child, {text("1"), text("2")});
  moved.remove(parent, {text("1")});
  CHECK(world.apply_error(moved) == "");
  History gone(9000);
  gone.remove(grand, {text("1"), null()});
  gone.remove(child, {text("1"), null()});
  gone.remove(parent, {text("2")});
  CHECK(world.apply_error(gone) == "");
  CHECK(world.db().one("SELECT count(*) FROM dst.zparent") == "0");
}

TEST_CASE("order: a table that points at itself, and a cycle of two") {
  World world;
  both(world, "id int PRIMARY KEY, up int");
  world.db().run("ALTER TABLE dst.t ADD FOREIGN KEY (up) REFERENCES dst.t");
  world.db().run(
      "CREATE TABLE src.a (id int PRIMARY KEY, b int); CREATE TABLE src.b (id int PRIMARY KEY, a "
      "int);"
      "CREATE TABLE dst.a (id int PRIMARY KEY, b int); CREATE TABLE dst.b (id int PRIMARY KEY, a "
      "int);"
      "ALTER TABLE dst.a ADD FOREIGN KEY (b) REFERENCES dst.b; ALTER TABLE dst.b ADD FOREIGN KEY "
      "(a) "
      "REFERENCES dst.a DEFERRABLE");
  const auto t = world.add("t");
  const auto a = world.add("a");
  const auto b = world.add("b");
  world.open();
  History h;
  h.insert(t, {text("1"), null()});
  h.insert(t, {text("2"), text("1")});
  h.insert(b, {text("1"), null()});
  h.insert(a, {text("1"), text("1")});
  h.update(b, {text("1"), text("1")});
  CHECK(world.apply_error(h) == "");
  History more(5000);
  more.remove(t, {text("2"), null()});
  more.remove(t, {text("1"), null()});
  more.update(b, {text("1"), null()});
  more.remove(a, {text("1"), null()});
  more.remove(b, {text("1"), null()});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "0");
}

TEST_CASE("order: a parent's key changes and the target cascades it") {
  World world;
  for (const char* schema : {"src", "dst"}) {
    const std::string s = schema;
    world.db().run("CREATE TABLE " + s + ".p (id int PRIMARY KEY, v text); CREATE TABLE " + s +
                   ".c (id int PRIMARY KEY, p int REFERENCES " + s +
                   ".p ON UPDATE CASCADE ON DELETE CASCADE, big text)");
  }
  const auto p = world.add("p");
  const auto c = world.add("c");
  world.open();
  History h;
  h.insert(p, {text("1"), text("v")});
  h.insert(c, {text("1"), text("1"), text("BIG")});
  REQUIRE(world.apply(h));
  History more(5000);
  more.update(p, {text("2"), text("v")}, {text("1"), null()});
  more.update(c, {text("1"), text("2"), unchanged()});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT id, p, big FROM dst.c") == Table{{"1", "2", "BIG"}});
}

TEST_CASE("order: a child leaves its parent before the parent goes and the target cascades") {
  World world;
  for (const char* schema : {"src", "dst"}) {
    const std::string s = schema;
    world.db().run("CREATE TABLE " + s + ".p (id int PRIMARY KEY); CREATE TABLE " + s +
                   ".c (id int PRIMARY KEY, p int REFERENCES " + s +
                   ".p ON DELETE CASCADE, big text)");
  }
  const auto p = world.add("p");
  const auto c = world.add("c");
  world.open();
  History h;
  h.insert(p, {text("1")});
  h.insert(p, {text("2")});
  h.insert(c, {text("1"), text("1"), text("BIG")});
  REQUIRE(world.apply(h));
  History more(5000);
  more.update(c, {text("1"), text("2"), unchanged()});
  more.remove(p, {text("1")});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().run("SELECT id, p, big FROM dst.c") == Table{{"1", "2", "BIG"}});
}

TEST_CASE(
    "order: a foreign key of the target that the rows break is an error with the target's words") {
  World world;
  both(world, "id int PRIMARY KEY, p int");
  world.db().run(
      "CREATE TABLE dst.p (id int PRIMARY KEY); ALTER TABLE dst.t ADD FOREIGN KEY (p) REFERENCES "
      "dst.p");
  const auto t = world.add("t");
  world.open();
  History h;
  h.insert(t, {text("1"), null()});
  h.insert(t, {text("2"), text("77")});
  const std::string error = world.apply_error(h);
  CHECK(contains(error, "bad_data: "));
  CHECK(contains(error, "violates foreign key constraint"));
  CHECK(contains(error, "key (id)=(2)"));
  CHECK_FALSE(contains(error, "77"));
}

TEST_CASE("order: a deferred constraint that fails at the commit is an error, not a loss") {
  World world;
  both(world, "id int PRIMARY KEY, p int");
  world.db().run(
      "CREATE TABLE dst.p (id int PRIMARY KEY); ALTER TABLE dst.t ADD FOREIGN KEY (p) REFERENCES "
      "dst.p "
      "DEFERRABLE");
  const auto t = world.add("t");
  world.open();
  History h;
  h.insert(t, {text("1"), text("77")});
  CHECK(contains(world.apply_error(h), "bad_data: "));
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "0");
  CHECK((*world.target->applied())->manifest_offset == -1);
}

TEST_CASE("order: replica role takes no notice of foreign keys and triggers") {
  World world;
  both(world, "id int PRIMARY KEY, p int");
  world.db().run(
      "CREATE TABLE dst.p (id int PRIMARY KEY); ALTER TABLE dst.t ADD FOREIGN KEY (p) REFERENCES "
      "dst.p");
  world.options.replica_role = true;
  const auto t = world.add("t");
  world.open();
  History h;
  h.insert(t, {text("1"), text("77")});
  CHECK(world.apply_error(h) == "");
}

TEST_CASE("truncate: before, between and after rows; several tables; identity restarted") {
  World world;
  for (const char* schema : {"src", "dst"}) {
    const std::string s = schema;
    world.db().run("CREATE TABLE " + s +
                   ".p (id int PRIMARY KEY, n int GENERATED BY DEFAULT AS IDENTITY);"
                   "CREATE TABLE " +
                   s + ".c (id int PRIMARY KEY, p int REFERENCES " + s + ".p)");
  }
  const auto p = world.add("p");
  const auto c = world.add("c");
  world.open();
  History h;
  h.insert(p, {text("1"), text("1")});
  h.insert(c, {text("1"), text("1")});
  REQUIRE(world.apply(h));
  world.db().run("SELECT setval('dst.p_n_seq', 100)");
  History more(5000);
  more.insert(p, {text("2"), text("2")});
  more.truncate({c, p}, true);
  more.insert(p, {text("3"), text("3")});
  more.insert(c, {text("3"), text("3")});
  CHECK(world.apply_error(more) == "");
  CHECK(world.db().rows("dst.p") == Table{{"3", "3"}});
  CHECK(world.db().rows("dst.c") == Table{{"3", "3"}});
  CHECK(world.db().one("SELECT nextval('dst.p_n_seq')") == "1");
  // Alone, the parent can not be truncated: as with native replication.
  History alone(9000);
  alone.truncate({p});
  CHECK(contains(world.apply_error(alone), "bad_data: "));
}

TEST_CASE("truncate: refused where two sources share the target") {
  World world;
  world.db().run(
      "CREATE TABLE src.a (id int PRIMARY KEY); CREATE TABLE src.b (id int PRIMARY KEY); "
      "CREATE TABLE dst.t (id int PRIMARY KEY)");
  sink::TableMapping mapping;
  mapping.target_table = "t";
  const auto a = world.add("a", mapping);
  const auto b = world.add("b", mapping);
  world.open();
  History h;
  h.insert(a, {text("1")});
  h.insert(b, {text("2")});
  REQUIRE(world.apply(h));
  History more(5000);
  more.truncate({a});
  CHECK(contains(world.apply_error(more), "bad_data: "));
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == "2");
}
