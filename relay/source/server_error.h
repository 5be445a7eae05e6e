// Errors of a Postgres server as Errors: the SQLSTATE decides the code, and messages are cleaned.
#pragma once

#include <string>
#include <string_view>

#include "relay/base/error.h"
#include "relay/source/conninfo.h"

struct pg_conn;    // libpq's PGconn
struct pg_result;  // libpq's PGresult

namespace millrace::source {

// Source: PostgreSQL docs, "PostgreSQL Error Codes".
ErrorCode code_for_sqlstate(std::string_view sqlstate);

// "" when the result has none (a client-side failure).
std::string sqlstate_of(const pg_result* result);

// For a failed command. `result` may be null: the connection's own message then.
Error server_error(pg_conn* connection, const pg_result* result, const Redactor& redactor,
                   std::string_view doing);

// For a connection that did not come up, whose message was made with PQERRORS_VERBOSE: libpq gives
// the SQLSTATE of a refused start-up nowhere else.
Error connect_error(pg_conn* connection, const Conninfo& info);

// "FATAL:  28P01: password …\nLOCATION:  …" → {"28P01", "FATAL:  password …"}
struct VerboseMessage {
  std::string sqlstate;
  std::string text;
};
VerboseMessage split_verbose(std::string_view message);

}  // namespace millrace::source
