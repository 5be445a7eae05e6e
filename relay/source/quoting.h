// The replication grammar's commands and the quoting that it, LIKE and arrays want. Pure functions.
//
// The replication grammar knows no E'…' strings, so PQescapeLiteral's output is a syntax error
// there as soon as a backslash appears: double the single quotes and nothing else. Source:
// PostgreSQL docs, "Streaming Replication Protocol"; src/backend/replication/repl_scanner.l.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "relay/base/ids.h"

namespace millrace::source {

// 'it''s'
std::string quote_replication_literal(std::string_view text);

// CREATE_REPLICATION_SLOT … LOGICAL pgoutput. `server_version` as server_version_num has it. Slots
// follow a failover where the server can do that (17 and later).
std::string create_slot_command(int server_version, std::string_view slot, bool temporary);

// START_REPLICATION … with proto_version 1, or 2 to be sent open transactions, and messages where
// the server has them (14 and later).
std::string start_command(int server_version, std::string_view slot, std::string_view publication,
                          Lsn from, bool streaming = false);

// A glob (* any run, ? any one character) as a LIKE pattern with the default escape.
std::string glob_to_like(std::string_view glob);

// An array parameter's text: {"a","say \"b\""}.
std::string array_literal(std::span<const std::string> elements);

}  // namespace millrace::source
