// KnownTables: the target's catalog is read once for many tables, and no longer believed than it
// may be; and how connection_prepared.cc prepares many statements at once.
#include "connectors/postgres/known_tables.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/integration/target/target_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

// Tables of a name on either side, as a session sees them.
struct Session {
  World world;
  std::unique_ptr<postgres::Connection> connection;
  std::unique_ptr<postgres::KnownTables> known;

  void open() {
    auto opened = postgres::Connection::open(world.options);
    REQUIRE(opened);
    connection = std::move(*opened);
    known = std::make_unique<postgres::KnownTables>(*connection, world.options.tables);
  }
  void read() {
    const Status done = known->read(world.shapes);
    REQUIRE_MESSAGE(done, (done ? "" : done.error().describe()));
  }
  std::string columns(size_t shape) {
    std::string list;
    for (const auto& column : known->at(*world.shapes[shape]).target.columns) {
      list += (list.empty() ? "" : ", ") + column.name + " " + column.full_type;
    }
    return list;
  }
};

void both(World& world, const std::string& name, const std::string& columns) {
  world.db().run("CREATE TABLE src." + name + " (" + columns + "); CREATE TABLE dst." + name +
                 " (" + columns + ", _millrace bytea)");
}

std::string kept(postgres::Connection& connection) {
  const postgres::Reply reply = connection.run("SELECT count(*) FROM pg_prepared_statements");
  REQUIRE(reply.ok());
  return std::string(reply.text(0, 0));
}

}  // namespace

TEST_CASE("KnownTables: each of many tables gets its own columns, keys and types") {
  Session s;
  s.world.db().run("CREATE DOMAIN public.price AS numeric(10,2)");
  for (int i = 0; i < 700; ++i) {
    const std::string n = std::to_string(i);
    const std::string type = i % 3 == 0 ? "public.price" : i % 3 == 1 ? "varchar(7)" : "int[]";
    both(s.world, "t" + n, "a" + n + " int, b " + type + ", PRIMARY KEY (a" + n + ")");
    if (i % 100 == 99) s.world.db().run("DROP TABLE dst.t" + n);
    s.world.add("t" + n);
  }
  s.open();
  s.read();
  for (size_t i = 0; i < s.world.shapes.size(); ++i) {
    const postgres::Binding& binding = s.known->at(*s.world.shapes[i]);
    CAPTURE(i);
    CHECK(binding.exists == (i % 100 != 99));
    if (!binding.exists) continue;
    const char* const types[] = {"public.price", "character varying(7)", "integer[]"};
    CHECK(s.columns(i) ==
          "a" + std::to_string(i) + " integer, b " + types[i % 3] + ", _millrace bytea");
    CHECK(binding.findings.empty());
    CHECK(binding.outputs.size() == 2);
    CHECK(binding.outputs[0].equals == "OPERATOR(pg_catalog.=)");
    CHECK(binding.types[1].base_oid == (i % 3 == 0 ? 1700U : i % 3 == 1 ? 1043U : 1007U));
  }
}

TEST_CASE("KnownTables: what fits is read once, what does not each time") {
  Session s;
  both(s.world, "fits", "id int PRIMARY KEY, v text");
  both(s.world, "lacks", "id int PRIMARY KEY, v text");
  both(s.world, "bare", "id int PRIMARY KEY, v text");
  s.world.db().run("ALTER TABLE dst.lacks DROP v; ALTER TABLE dst.bare DROP _millrace");
  for (const char* name : {"fits", "lacks", "bare"}) s.world.add(name);
  s.open();
  s.read();
  CHECK(s.known->at(*s.world.shapes[1]).findings.size() == 1);
  s.world.db().run(
      "ALTER TABLE dst.fits RENAME v TO w; ALTER TABLE dst.lacks ADD v text; ALTER TABLE dst.bare "
      "ADD _millrace bytea");
  s.read();
  CHECK(s.columns(0) == "id integer, v text, _millrace bytea");
  CHECK(s.known->at(*s.world.shapes[1]).findings.empty());
  CHECK(s.columns(2) == "id integer, v text, _millrace bytea");
  // What was taken is read anew, unless it was put back.
  s.known->put(s.known->take(*s.world.shapes[0]));
  s.read();
  CHECK(s.known->at(*s.world.shapes[0]).findings.empty());
  postgres::Binding old = s.known->take(*s.world.shapes[0]);
  old.read_at -= Millis(61'000);
  s.known->put(std::move(old));
  s.read();
  CHECK(s.known->at(*s.world.shapes[0]).findings.size() == 1);
  s.known->forget();
  s.read();
  CHECK(s.columns(0) == "id integer, w text, _millrace bytea");
}

TEST_CASE("KnownTables: a table altered between check and the first write is read again") {
  World world;
  world.db().run("CREATE TABLE src.t (id int PRIMARY KEY, v text)");
  world.db().run("CREATE TABLE dst.t (id int PRIMARY KEY, v text)");
  const auto t = world.add("t");
  world.open();
  const auto findings = world.target->check(world.shapes);
  REQUIRE(findings);
  CHECK(findings->empty());
  world.db().run("ALTER TABLE dst.t DROP v; ALTER TABLE dst.t ADD v bigint");
  History h;
  h.insert(t, {text("1"), text("22")});
  const Status first = world.apply(h);
  REQUIRE_FALSE(first);
  CHECK(first.error().code() == ErrorCode::retryable);
  const Status second = world.apply(h);
  REQUIRE_MESSAGE(second, (second ? "" : second.error().describe()));
  CHECK(world.db().rows("dst.t") == Table{{"1", "22"}});
}

TEST_CASE("check: statements that do not parse are found among many, each at its place") {
  World world;
  for (int i = 0; i < 250; ++i) {
    const std::string n = "t" + std::to_string(100 + i);
    world.db().run("CREATE TABLE src." + n + " (id int PRIMARY KEY, v text)");
    world.db().run("CREATE TABLE dst." + n + " (id int PRIMARY KEY, v text)");
    // ON CONFLICT does not go with a rule.
    if (i == 40 || i == 240) {
      world.db().run("CREATE RULE r AS ON INSERT TO dst." + n + " DO ALSO NOTIFY n");
    }
    world.add(n);
  }
  world.db().run("ALTER TABLE dst.t190 DROP v");
  world.open();
  const auto findings = world.target->check(world.shapes);
  REQUIRE(findings);
  std::vector<std::string> shown;
  for (const Error& finding : *findings) shown.push_back(finding.describe());
  REQUIRE(shown.size() == 3);
  CHECK(shown[0].find("t140") != std::string::npos);
  CHECK(shown[1].find("t190") != std::string::npos);
  CHECK(shown[2].find("t340") != std::string::npos);
}

TEST_CASE("Connection: many statements are prepared together, the bad ones among them are named") {
  Session s;
  s.open();
  postgres::Connection& connection = *s.connection;
  std::vector<std::string> statements;
  for (int i = 0; i < 1300; ++i) {
    statements.push_back(i % 250 == 7 ? "SELECT nothing" : "SELECT " + std::to_string(i));
  }
  const auto replies = connection.prepare_all(statements);
  REQUIRE(replies.size() == statements.size());
  for (size_t i = 0; i < replies.size(); ++i) {
    CAPTURE(i);
    CHECK(replies[i].ok() == (i % 250 != 7));
    if (!replies[i].ok()) CHECK(replies[i].sqlstate() == "42703");
  }
  CHECK(kept(connection) == "1000");
  CHECK_FALSE(connection.in_transaction());
  const postgres::Reply found = connection.run_prepared("SELECT 3", {});
  REQUIRE(found.ok());
  CHECK(found.text(0, 0) == "3");
  CHECK(kept(connection) == "1000");
  // There is no room: a quarter goes, but not what was used last.
  REQUIRE(connection.run_prepared("SELECT 'new'", {}).ok());
  CHECK(std::stoi(kept(connection)) < 800);
  const postgres::Reply three =
      connection.run("SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 3'");
  CHECK(three.text(0, 0) == "1");
}
