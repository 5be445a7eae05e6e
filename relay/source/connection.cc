#include "relay/source/connection.h"

#include <algorithm>
#include <charconv>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#include "relay/base/logging.h"
#include "relay/source/server_error.h"

namespace millrace::source {
namespace {

constexpr Millis kSlice{200};  // of a wait, so that a stop is noticed
// Who waits for rows is woken for every few of them, and a server that is waited for sends small
// segments. So when a run of so many bytes is over, the socket is left alone until more are there.
constexpr size_t kRunBytes = size_t{64} << 10;
constexpr Millis kAway{2};

void log_notice(void*, const PGresult* notice) {
  const char* severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity == nullptr || std::string_view(severity) != "WARNING") return;
  const char* text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
  logging::warn("the source warns", {{"message", text == nullptr ? "" : text}});
}

Result<ConnectionHandle> finish_opening(ConnectionHandle connection, const Conninfo& info,
                                        const Options& options) {
  const Millis timeout = options.connect_timeout;
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
    if (options.stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    if (poll(&socket, 1, static_cast<int>(std::min(left, kSlice).count())) == 0) continue;
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

Result<ConnectionHandle> open_connection(const Conninfo& info, const Options& options) {
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
  return finish_opening(std::move(connection), info, options);
}

int Rows::count() const { return PQntuples(result_.get()); }
int Rows::columns() const { return PQnfields(result_.get()); }

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
  TRY_ASSIGN(ConnectionHandle handle, open_connection(info, options));
  return Connection(std::move(handle), std::move(info.redactor), options);
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
  PQsendQueryParams(handle_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr,
                    values.data(), lengths.data(), formats.data(), 0);
  TRY_ASSIGN(ResultHandle result, await_result(doing));
  const ExecStatusType status = PQresultStatus(result.get());
  last_sqlstate_ = sqlstate_of(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    return fail(server_error(handle_.get(), result.get(), redactor_, doing));
  }
  return Rows(std::move(result));
}

// A server that is cut off may keep its connection open and say nothing for ever.
Status Connection::await_input(std::string_view doing, SteadyTime deadline) {
  const bool stopped = options_.stop.stop_requested();
  if (stopped || std::chrono::steady_clock::now() >= deadline) {
    shutdown(PQsocket(handle_.get()), SHUT_RDWR);
    PQconsumeInput(handle_.get());  // so that the connection counts as lost
    if (stopped) return fail(ErrorCode::cancelled, "stopped");
    return fail(ErrorCode::retryable, fmt::format("{}: the source did not answer within {} ms",
                                                  doing, options_.receive_timeout.count()));
  }
  pollfd socket{PQsocket(handle_.get()), POLLIN, 0};
  if (poll(&socket, 1, static_cast<int>(kSlice.count())) > 0) PQconsumeInput(handle_.get());
  return {};
}

bool Connection::has_input() const {
  pollfd socket{PQsocket(handle_.get()), POLLIN, 0};
  return poll(&socket, 1, 0) != 0;
}

Result<ResultHandle> Connection::await_result(std::string_view doing) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + options_.receive_timeout;
  ResultHandle last;
  while (true) {
    while (is_open() && PQisBusy(handle_.get()) != 0) TRY(await_input(doing, deadline));
    ResultHandle next(PQgetResult(handle_.get()));
    if (!next) return last;
    last = std::move(next);
    if (PQresultStatus(last.get()) == PGRES_COPY_OUT) return last;  // its rows come first
  }
}

Status Connection::copy_out(std::string_view doing, const std::string& sql,
                            const std::function<bool(std::string_view)>& row) {
  PQsendQuery(handle_.get(), sql.c_str());
  TRY_ASSIGN(ResultHandle result, await_result(doing));
  last_sqlstate_ = sqlstate_of(result.get());
  if (PQresultStatus(result.get()) != PGRES_COPY_OUT) {
    return fail(server_error(handle_.get(), result.get(), redactor_, doing));
  }
  TRY_ASSIGN(const bool whole, copy_rows(doing, row));
  if (!whole) {
    shutdown(PQsocket(handle_.get()), SHUT_RDWR);
    PQreset(handle_.get());
    return {};
  }
  TRY_ASSIGN(result, await_result(doing));
  last_sqlstate_ = sqlstate_of(result.get());
  if (PQresultStatus(result.get()) != PGRES_COMMAND_OK) {
    return fail(server_error(handle_.get(), result.get(), redactor_, doing));
  }
  return {};
}

Result<bool> Connection::copy_rows(std::string_view doing,
                                   const std::function<bool(std::string_view)>& row) {
  SteadyTime deadline;
  bool any = true;       // since the last wait for the socket
  size_t run_bytes = 0;  // since it was last left alone
  while (true) {
    char* line = nullptr;
    const int length = PQgetCopyData(handle_.get(), &line, 1);
    if (length > 0) {
      const std::unique_ptr<char, decltype(&PQfreemem)> owned(line, &PQfreemem);
      any = true;
      run_bytes += static_cast<size_t>(length);
      if (!row({line, static_cast<size_t>(length)})) return false;
    } else if (length == 0) {
      if (!is_open()) return fail(server_error(handle_.get(), nullptr, redactor_, doing));
      if (run_bytes >= kRunBytes && !has_input()) {
        std::this_thread::sleep_for(kAway);
        run_bytes = 0;
      }
      if (any) deadline = std::chrono::steady_clock::now() + options_.receive_timeout;
      any = false;
      TRY(await_input(doing, deadline));
    } else if (length == -1) {
      return true;
    } else {
      return fail(server_error(handle_.get(), nullptr, redactor_, doing));
    }
  }
}

Result<std::string> Connection::literal(std::string_view text) {
  const std::unique_ptr<char, decltype(&PQfreemem)> quoted(
      PQescapeLiteral(handle_.get(), text.data(), text.size()), &PQfreemem);
  if (!quoted) return fail(server_error(handle_.get(), nullptr, redactor_, "quote a value"));
  return std::string(quoted.get());
}

bool Connection::is_open() const { return PQstatus(handle_.get()) == CONNECTION_OK; }
int Connection::server_version() const { return PQserverVersion(handle_.get()); }

}  // namespace millrace::source
