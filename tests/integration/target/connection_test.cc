// Connection: what it keeps in the server.
#include "connectors/postgres/connection.h"

#include <doctest/doctest.h>

#include "tests/integration/target/target_world.h"

using namespace millrace;
using namespace millrace::test;

// A pipeline of many tables has more statements than are kept; its writes are all in transactions.
TEST_CASE("Connection: prepared statements do not pile up in the server, in a transaction either") {
  World world;
  world.options.dsn = world.dsn();
  auto opened = postgres::Connection::open(world.options);
  REQUIRE(opened);
  postgres::Connection& connection = **opened;
  REQUIRE(connection.run("BEGIN").ok());
  for (int i = 0; i < 2500; ++i) {
    REQUIRE(connection.run_prepared("SELECT " + std::to_string(i), {}).ok());
  }
  const postgres::Reply kept = connection.run("SELECT count(*) FROM pg_prepared_statements");
  REQUIRE(kept.ok());
  CHECK(std::stoi(std::string(kept.text(0, 0))) <= 1000);
  // What was forgotten is prepared anew.
  CHECK(connection.run_prepared("SELECT 1", {}).ok());
  REQUIRE(connection.run("COMMIT").ok());
}

TEST_CASE("Connection: a target that can not be reached is named with what to do") {
  World world;
  const auto refused = [&world](const std::string& change) {
    postgres::Options options = world.options;
    options.dsn = world.dsn() + " " + change;
    const auto opened = postgres::Connection::open(options);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code() == ErrorCode::retryable);
    return opened.error().hint();
  };
  CHECK(refused("dbname='No such'").ends_with("on the target: CREATE DATABASE \"No such\""));
  CHECK(refused("user=no_such_role")
            .ends_with("on the target: CREATE ROLE no_such_role LOGIN PASSWORD '…'"));
  CHECK(refused("host=127.0.0.1 hostaddr=127.0.0.1 port=1")
            .ends_with("pg_isready -h 127.0.0.1 -p 1"));
  CHECK(refused("host=no-such-host.invalid").starts_with("target.dsn names no known host"));
}
