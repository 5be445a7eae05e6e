#include "relay/source/server_error.h"

#include <algorithm>

#include <fmt/format.h>
#include <libpq-fe.h>

namespace millrace::source {
namespace {

std::string field(const PGresult* result, int code) {
  const char* text = PQresultErrorField(result, code);
  return text == nullptr ? std::string() : std::string(text);
}

bool is_sqlstate(std::string_view text) {
  return text.size() == 5 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
         });
}

}  // namespace

ErrorCode code_for_sqlstate(std::string_view sqlstate) {
  const std::string_view kind = sqlstate.substr(0, 2);
  if (sqlstate == "57014") return ErrorCode::retryable;  // a statement timeout or a cancel
  if (kind == "08" || kind == "53" || kind == "57" || kind == "40") return ErrorCode::retryable;
  if (sqlstate == "55P03" || sqlstate == "55006") return ErrorCode::retryable;
  if (sqlstate == "25006") return ErrorCode::retryable;  // read-only: a failover is going on
  // The server's machine (58), and what its own races say of themselves ("tuple concurrently
  // updated", "cache lookup failed": somebody alters at the same time).
  if (kind == "58" || sqlstate == "XX000") return ErrorCode::retryable;
  if (kind == "28" || sqlstate == "3D000") return ErrorCode::config;
  if (kind == "42" || kind == "55" || kind == "3F") return ErrorCode::bad_data;
  return ErrorCode::fatal;
}

std::string sqlstate_of(const PGresult* result) {
  return result == nullptr ? std::string() : field(result, PG_DIAG_SQLSTATE);
}

Error server_error(PGconn* connection, const PGresult* result, const Redactor& redactor,
                   std::string_view doing) {
  const std::string sqlstate = sqlstate_of(result);
  if (sqlstate.empty()) {
    const std::string text = redactor.clean(PQerrorMessage(connection));
    const bool lost = PQstatus(connection) != CONNECTION_OK;
    return {lost ? ErrorCode::retryable : ErrorCode::fatal,
            fmt::format("{}: {}", doing, text.empty() ? "the connection was lost" : text)};
  }
  std::string message = fmt::format("{}: {}", doing, field(result, PG_DIAG_MESSAGE_PRIMARY));
  if (const std::string detail = field(result, PG_DIAG_MESSAGE_DETAIL); !detail.empty()) {
    message += ": " + detail;
  }
  message += fmt::format(" [{}]", sqlstate);
  return {code_for_sqlstate(sqlstate), redactor.clean(message),
          redactor.clean(field(result, PG_DIAG_MESSAGE_HINT))};
}

VerboseMessage split_verbose(std::string_view message) {
  VerboseMessage out;
  while (!message.empty()) {
    const size_t end = std::min(message.find('\n'), message.size());
    std::string line(message.substr(0, end));
    message.remove_prefix(std::min(end + 1, message.size()));
    if (line.starts_with("LOCATION:")) continue;
    // "SEVERITY:  28P01: text", after what libpq puts before it.
    for (size_t at = line.find(":  "); at != std::string::npos; at = line.find(":  ", at + 1)) {
      const std::string_view code = std::string_view(line).substr(at + 3, 5);
      if (!is_sqlstate(code) || line.substr(at + 8, 2) != ": ") continue;
      out.sqlstate = code;
      line.erase(at + 3, 7);
      break;
    }
    if (!out.text.empty()) out.text.push_back('\n');
    out.text += line;
  }
  return out;
}

Error connect_error(PGconn* connection, const Conninfo& info) {
  const VerboseMessage message = split_verbose(PQerrorMessage(connection));
  const std::string text = info.redactor.clean(message.text);
  if (!message.sqlstate.empty()) {
    return {code_for_sqlstate(message.sqlstate), fmt::format("connect to the source: {}", text),
            code_for_sqlstate(message.sqlstate) == ErrorCode::config
                ? "check user, password and database in source.dsn, and the server's pg_hba.conf"
                : ""};
  }
  if (PQconnectionNeedsPassword(connection) != 0) {
    return {ErrorCode::config,
            fmt::format("connect to the source {}: it wants a password", info.where),
            "give one in source.dsn, as ${env:NAME} or ${file:path}"};
  }
  return {ErrorCode::retryable, fmt::format("connect to the source {}: {}", info.where, text),
          "see that the server runs, and that host and port in source.dsn are its own"};
}

}  // namespace millrace::source
