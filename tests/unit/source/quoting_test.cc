#include "relay/source/quoting.h"

#include <chrono>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "relay/source/options.h"

using namespace millrace;
using namespace millrace::source;

TEST_CASE("quote_replication_literal: doubles quotes and leaves backslashes alone") {
  CHECK(quote_replication_literal("plain") == "'plain'");
  CHECK(quote_replication_literal("it's") == "'it''s'");
  CHECK(quote_replication_literal("a\\b") == "'a\\b'");
  CHECK(quote_replication_literal("") == "''");
}

TEST_CASE("start_command: names are quoted twice, once for the list and once for the grammar") {
  CHECK(start_command(150000, "slot", "pub", Lsn{0x16B3748}) ==
        "START_REPLICATION SLOT \"slot\" LOGICAL 0/16B3748 (proto_version '1', publication_names "
        "'\"pub\"', messages 'true')");
  CHECK(start_command(150000, "s", "it's \"odd\" \\ name", Lsn{})
            .find("publication_names '\"it''s \"\"odd\"\" \\ name\"'") != std::string::npos);
}

TEST_CASE("start_command: messages are asked for where the server has them") {
  CHECK(start_command(130000, "s", "p", Lsn{}).find("messages") == std::string::npos);
  CHECK(start_command(140000, "s", "p", Lsn{}).find(", messages 'true')") != std::string::npos);
}

TEST_CASE("start_command: open transactions need the second protocol") {
  CHECK(start_command(150000, "s", "p", Lsn{}, true)
            .find("(proto_version '2', streaming 'on', publication_names '\"p\"'") !=
        std::string::npos);
}

TEST_CASE("create_slot_command: follows the server's version") {
  CHECK(create_slot_command(140000, "s", false) ==
        "CREATE_REPLICATION_SLOT \"s\" LOGICAL pgoutput NOEXPORT_SNAPSHOT");
  CHECK(create_slot_command(150000, "s", false) ==
        "CREATE_REPLICATION_SLOT \"s\" LOGICAL pgoutput (SNAPSHOT 'nothing')");
  CHECK(create_slot_command(170000, "s", false) ==
        "CREATE_REPLICATION_SLOT \"s\" LOGICAL pgoutput (SNAPSHOT 'nothing', FAILOVER true)");
  CHECK(create_slot_command(170000, "s", true) ==
        "CREATE_REPLICATION_SLOT \"s\" TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')");
  CHECK(create_slot_command(150000, "a\"b", false).find("\"a\"\"b\"") != std::string::npos);
}

TEST_CASE("glob_to_like: * and ? are wildcards, LIKE's own are not") {
  CHECK(glob_to_like("orders_*") == "orders\\_%");
  CHECK(glob_to_like("a?c") == "a_c");
  CHECK(glob_to_like("100%\\") == "100\\%\\\\");
}

TEST_CASE("feedback_interval: never more than a third of wal_sender_timeout") {
  CHECK(feedback_interval(Millis(2000), Millis(60'000)) == Millis(2000));
  CHECK(feedback_interval(Millis(2000), Millis(2000)) == Millis(666));
  CHECK(feedback_interval(Millis(2000), Millis(0)) == Millis(2000));
  CHECK(feedback_interval(Millis(0), Millis(0)) == Millis(10));
}

TEST_CASE("array_literal: every element is quoted, quotes and backslashes in it escaped") {
  const std::vector<std::string> names{"plain", R"(say "b"\c)", "a,{b}", "", "NULL"};
  CHECK(array_literal(names) == R"({"plain","say \"b\"\\c","a,{b}","","NULL"})");
  CHECK(array_literal({}) == "{}");
}
