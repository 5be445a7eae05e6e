#include "relay/source/connection.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>

#include "relay/base/logging.h"
#include "relay/source/server_error.h"

namespace millrace::source {
namespace {

void log_notice(void*, const PGresult* notice) {
  const char* severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity == nullptr || std::string_view(severity) != "WARNING") return;
  const char* text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
  logging::warn("the source warns", {{"message", text == nullptr ? "" : text}});
}

Result<ConnectionHandle> finish_opening(ConnectionHandle connection, const Conninfo& info,
                                        Millis timeout) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
  PostgresPollingStatusType wanted = PGRES_POLLING_WRITING;
  while (true) {
    const auto left =
        std::chrono::duration_cast<Millis>(deadline - std::chrono::steady_clock::now());
    if (left <= Millis(0)) {
      return fail(ErrorCode::retryable,
                  fmt::format("connect to the source {}: no connection within {} ms", info.where,
                              timeout.count()));
    }
    pollfd socket{PQsocket(connection.get()),
                  static_cast<short>(wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
    if (poll(&socket, 1, static_cast<int>(std::min(left, Millis(1000)).count())) == 0) continue;
    wanted = PQconnectPoll(connection.get());
    if (wanted == PGRES_POLLING_OK) break;
    if (wanted == PGRES_POLLING_FAILED) return fail(connect_error(connection.get(), info));
  }
  PQsetErrorVerbosity(connection.get(), PQERRORS_DEFAULT);
  PQsetNoticeReceiver(connection.get(), log_notice, nullptr);
  return connection;
}

}  // namespace

void CloseConnection::operator()(pg_conn* connection) const { PQfinish(connection); }
void ClearResult::operator()(pg_result* result) const { PQclear(result); }

Result<ConnectionHandle> open_connection(const Conninfo& info, Millis timeout) {
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  for (size_t i = 0; i < info.keywords.size(); ++i) {
    keywords.push_back(info.keywords[i].c_str());
    values.push_back(info.values[i].c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  ConnectionHandle connection(PQconnectStartParams(keywords.data(), values.data(), 0));
  if (!connection) return fail(ErrorCode::fatal, "connect to the source: no memory");
  // So that a refused start-up tells its SQLSTATE.
  PQsetErrorVerbosity(connection.get(), PQERRORS_VERBOSE);
  if (PQstatus(connection.get()) == CONNECTION_BAD) {
    return fail(connect_error(connection.get(), info));
  }
  return finish_opening(std::move(connection), info, timeout);
}

int Rows::count() const { return PQntuples(result_.get()); }

bool Rows::is_null(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) != 0;
}

std::string_view Rows::text(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column),
          static_cast<size_t>(PQgetlength(result_.get(), row, column))};
}

int64_t Rows::integer(int row, int column) const {
  const std::string_view digits = text(row, column);
  int64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

Lsn Rows::lsn(int row, int column) const { return parse_lsn(text(row, column)).value_or(Lsn{}); }

Result<Connection> Connection::open(const Options& options) {
  TRY_ASSIGN(Conninfo info, make_conninfo(options, Purpose::sql));
  TRY_ASSIGN(ConnectionHandle handle, open_connection(info, options.connect_timeout));
  return Connection(std::move(handle), std::move(info.redactor));
}

Result<Rows> Connection::query(std::string_view doing, const std::string& sql,
                               std::initializer_list<Parameter> parameters) {
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;
  for (const Parameter& parameter : parameters) {
    values.push_back(parameter.text ? parameter.text->c_str() : nullptr);
    lengths.push_back(parameter.text ? static_cast<int>(parameter.text->size()) : 0);
    formats.push_back(parameter.binary ? 1 : 0);
  }
  ResultHandle result(PQexecParams(handle_.get(), sql.c_str(), static_cast<int>(values.size()),
                                   nullptr, values.data(), lengths.data(), formats.data(), 0));
  const ExecStatusType status = PQresultStatus(result.get());
  last_sqlstate_ = sqlstate_of(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    return fail(server_error(handle_.get(), result.get(), redactor_, doing));
  }
  return Rows(std::move(result));
}

bool Connection::is_open() const { return PQstatus(handle_.get()) == CONNECTION_OK; }
int Connection::server_version() const { return PQserverVersion(handle_.get()); }

}  // namespace millrace::source
