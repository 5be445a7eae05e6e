// What goes wrong with slots and streams, against a real Postgres.
#include "tests/integration/source/source_fixture.h"

namespace t = millrace::testing;
using namespace millrace;
using namespace millrace::source;
using namespace millrace::testing;

TEST_CASE(
    "source: a wrong password is config and is not shown; an unreachable server is retryable") {
  Source source;
  source.run_each({"CREATE ROLE wants_password LOGIN PASSWORD 'right'"});
  Options wrong = source.options;
  wrong.dsn = base_dsn() + " dbname=nowhere_at_all password=hunter2secret";
  auto opened = Connection::open(wrong);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code() == ErrorCode::config);
  CHECK(opened.error().describe().find("hunter2secret") == std::string::npos);
  wrong.dsn = "host=127.0.0.1 port=1 user=x password=hunter2secret dbname=d";
  opened = Connection::open(wrong);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code() == ErrorCode::retryable);
  CHECK(opened.error().describe().find("hunter2secret") == std::string::npos);
  source.run_each({"DROP ROLE wants_password"});
  wrong.dsn = base_dsn() + " user=nobody_here";
  opened = Connection::open(wrong);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code() == ErrorCode::config);
}

TEST_CASE("source: errors of starting a stream say what to do") {
  Source source;
  source.run_each({"CREATE TABLE a (id int PRIMARY KEY)", "CREATE PUBLICATION pub FOR TABLE a"});
  Replication first(source.options);
  must(first.connect());
  {
    const auto missing = first.start(Lsn{});
    REQUIRE_FALSE(missing);
    CHECK(missing.error().code() == ErrorCode::refused);
    CHECK_FALSE(first.slot_is_busy());
  }
  must(first.create_slot());
  {
    const auto twice = first.create_slot();
    REQUIRE_FALSE(twice);
    CHECK(twice.error().code() == ErrorCode::refused);
  }
  must(first.start(Lsn{}));
  Replication second(source.options);
  must(second.connect());
  const auto busy = second.start(Lsn{});
  REQUIRE_FALSE(busy);
  CHECK(busy.error().code() == ErrorCode::retryable);
  CHECK(busy.error().message().find("active for PID") != std::string::npos);
  CHECK(second.slot_is_busy());
  // A walsender that is ended is worth another try.
  source.value(
      fmt::format("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE "
                  "slot_name = '{}'",
                  source.options.slot));
  std::optional<Error> error;
  CHECK(eventually([&] {
    auto frame = first.next(Millis(50));
    if (!frame) error = frame.error();
    return error.has_value();
  }));
  CHECK(error->code() == ErrorCode::retryable);
  CHECK(error->message().find("57P01") != std::string::npos);
  CHECK(eventually([&] { return second.start(Lsn{}).has_value(); }));
}

TEST_CASE("source: a publication that is missing ends the stream as refused") {
  Source source;
  source.run_each({"CREATE TABLE a (id int PRIMARY KEY)"});
  Replication replication(source.options);
  must(replication.connect());
  must(replication.create_slot());
  must(replication.start(Lsn{}));
  source.run_each({"INSERT INTO a VALUES (1)"});
  std::optional<Error> error;
  CHECK(eventually([&] {
    auto frame = replication.next(Millis(50));
    if (!frame) error = frame.error();
    return error.has_value();
  }));
  CHECK(error->code() == ErrorCode::refused);
  CHECK(error->describe().find("publication") != std::string::npos);
}

TEST_CASE("source: a slot that the server has invalidated is refused, and named as lost") {
  Source source;
  source.run_each({"CREATE TABLE a (id int PRIMARY KEY)", "CREATE PUBLICATION pub FOR TABLE a"});
  Replication replication(source.options);
  must(replication.connect());
  must(replication.create_slot());
  must(replication.start(Lsn{}));
  source.run_each({"ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'", "SELECT pg_reload_conf()"});
  for (int i = 0; i < 5; ++i) {
    source.run_each({fmt::format("INSERT INTO a VALUES ({})", i), "SELECT pg_switch_wal()"});
  }
  // The walsender is ended; then the slot's row tells why going on makes no sense.
  std::optional<Error> error;
  CHECK(eventually([&] {
    source.run_each({"CHECKPOINT"});  // the first may not know of the setting yet
    auto frame = replication.next(Millis(50));
    if (!frame) error = frame.error();
    return error.has_value();
  }));
  CHECK(error->code() == ErrorCode::retryable);
  Catalog catalog(source.options);
  std::optional<SlotInfo> slot;
  CHECK(eventually([&] {
    slot = must(catalog.slot(source.options.slot));
    return slot->is_lost();
  }));
  CHECK(slot->retained_bytes == 0);
  const auto findings = check_slot(*slot, slot->database);
  CHECK(has_finding(findings, true, "is lost"));
  Replication again(source.options);
  must(again.connect());
  const auto started = again.start(Lsn{});
  REQUIRE_FALSE(started);
  CHECK(started.error().code() == ErrorCode::refused);
  source.run_each({"ALTER SYSTEM RESET max_slot_wal_keep_size", "SELECT pg_reload_conf()"});
}
