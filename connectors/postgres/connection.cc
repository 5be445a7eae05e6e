#include "connectors/postgres/connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <libpq-fe.h>

#include "connectors/postgres/connection_parts.h"
#include "relay/base/logging.h"

namespace millrace::postgres {
namespace {

void log_notice(void*, const PGresult* result) {
  const char* text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  logging::debug("target notice", {{"message", text == nullptr ? "" : text}});
}

// Everything that decides how values are read and written, and how names are found. Plans: rows
// come as arrays of unknown length, for which only the walk over the key's index is right at any
// table size.
constexpr std::string_view kPinned =
    "SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; "
    "SET TimeZone = 'UTC'; SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET xmloption = "
    "'content'; "
    "SET row_security = off; SET search_path = pg_catalog, pg_temp; "
    "SET standard_conforming_strings = on; SET array_nulls = on; "
    "SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = "
    "off; "
    "SET default_transaction_deferrable = off; SET idle_in_transaction_session_timeout = 0; "
    // A host that vanished lets go of locks within 15 s, also of the applier lock.
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3; "
    "SET tcp_user_timeout = 14000; "
    "SET jit = off; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; "
    "SET enable_hashjoin = off; SET enable_mergejoin = off; ";

}  // namespace

Failure classify(std::string_view state) {
  const std::string_view family = state.substr(0, 2);
  if (state.empty() || family == "08" || family == "53" || family == "57" || family == "40" ||
      family == "58" || state == "55P03" || state == "55006" || state == "25006") {
    return Failure::retryable;
  }
  // 21000: two rows of one statement meet in one target key, which one by one they may.
  if (state == "23505" || state == "23503" || state == "23P01" || state == "21000") {
    return Failure::conflict;
  }
  if (family == "22" || family == "23" || family == "54" || family == "44" || family == "P0") {
    return Failure::row;
  }
  if ((family == "42" && state != "42501") || state == "0A000" || family == "3F") {
    return Failure::schema;
  }
  return Failure::other;
}

Reply::Reply(pg_result* result, std::string lost) : result_(result), lost_(std::move(lost)) {}

void Reply::Clear::operator()(pg_result* result) const { PQclear(result); }

bool Reply::ok() const {
  const auto status = PQresultStatus(result_.get());
  return result_ != nullptr &&
         (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_COPY_IN);
}

int Reply::rows() const { return PQntuples(result_.get()); }
int Reply::columns() const { return PQnfields(result_.get()); }

std::string_view Reply::text(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column),
          static_cast<size_t>(PQgetlength(result_.get(), row, column))};
}

bool Reply::is_null(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) != 0;
}

std::string_view Reply::name(int column) const { return PQfname(result_.get(), column); }
uint32_t Reply::type_oid(int column) const { return PQftype(result_.get(), column); }
int Reply::type_modifier(int column) const { return PQfmod(result_.get(), column); }

uint64_t Reply::affected() const {
  const char* text = PQcmdTuples(result_.get());
  return *text == '\0' ? 0 : std::stoull(text);
}

std::string_view Reply::command() const { return PQcmdStatus(result_.get()); }

std::string_view Reply::sqlstate() const {
  const char* state = PQresultErrorField(result_.get(), PG_DIAG_SQLSTATE);
  return state == nullptr ? std::string_view() : std::string_view(state);
}

std::string_view Reply::column() const {
  const char* name = PQresultErrorField(result_.get(), PG_DIAG_COLUMN_NAME);
  return name == nullptr ? std::string_view() : std::string_view(name);
}

std::string Reply::message() const {
  const char* text = PQresultErrorField(result_.get(), PG_DIAG_MESSAGE_PRIMARY);
  std::string message = text == nullptr ? lost_ : text;
  if (!sqlstate().starts_with("22")) return message;
  // Data exceptions quote the value that they reject, which may hold quotes itself.
  const size_t first = message.find('"');
  const size_t last = message.rfind('"');
  if (first != std::string::npos && last > first) message.replace(first + 1, last - first - 1, "…");
  return message;
}

namespace {

// By the server's and libpq's own words: before there is a session they come without a code.
std::string connect_hint(PGconn& conn, const std::string& message) {
  const auto says = [&message](std::string_view words) {
    return message.find(words) != std::string::npos;
  };
  const auto of = [&conn](char* (*what)(const PGconn*)) {
    const char* text = what(&conn);
    return std::string(text == nullptr ? "" : text);
  };
  const std::string role = quote_if_needed(of(PQuser));
  const std::string database = quote_if_needed(of(PQdb));
  if (PQconnectionNeedsPassword(&conn) != 0) {
    return "give a password in target.dsn, as ${env:NAME} or ${file:path}";
  }
  if (says("pg_hba.conf")) {
    return "let the target's pg_hba.conf admit role " + role + " to database " + database +
           " from this machine, then on the target: SELECT pg_reload_conf()";
  }
  if (says("password authentication failed")) {
    return "put the right password into target.dsn, or on the target: ALTER ROLE " + role +
           " PASSWORD '…'";
  }
  if (says("database \"") && says("does not exist")) {
    return "name another database in target.dsn, or on the target: CREATE DATABASE " + database;
  }
  if (says("role \"") && says("does not exist")) {
    return "name another user in target.dsn, or on the target: CREATE ROLE " + role +
           " LOGIN PASSWORD '…'";
  }
  const std::string where = "pg_isready -h " + of(PQhost) + " -p " + of(PQport);
  if (says("could not translate host name")) return "target.dsn names no known host: " + where;
  if (says("Connection refused") || says("timeout") || says("No such file")) {
    return "see that the server runs, and that host and port in target.dsn are its own: " + where;
  }
  return "see the target's own log; " + where;
}

}  // namespace

Connection::Connection(pg_conn* conn, const Options& options) : conn_(conn), options_(options) {}
Connection::~Connection() = default;
void Connection::Close::operator()(pg_conn* conn) const { PQfinish(conn); }

Result<std::unique_ptr<Connection>> Connection::open(const Options& options) {
  const std::string timeout =
      std::to_string(std::max<int64_t>(2, options.connect_timeout.count() / 1000));
  // What stands before "dbname" yields to the DSN; what stands after it does not.
  const std::array<const char*, 9> keys = {
      "connect_timeout",  "keepalives_idle",  "keepalives_interval",
      "keepalives_count", "tcp_user_timeout", "fallback_application_name",
      "dbname",           "client_encoding",  nullptr};
  const std::array<const char*, 9> values = {
      timeout.c_str(),     "10",   "5",    "4", "30000", options.application_name.c_str(),
      options.dsn.c_str(), "UTF8", nullptr};
  std::unique_ptr<Connection> connection(
      new Connection(PQconnectdbParams(keys.data(), values.data(), 1), options));
  PGconn* conn = connection->conn_.get();
  if (PQstatus(conn) != CONNECTION_OK) {
    const std::string message = trimmed(PQerrorMessage(conn));
    return fail(ErrorCode::retryable, "can not connect to the target: " + message,
                connect_hint(*conn, message));
  }
  PQsetNoticeReceiver(conn, log_notice, nullptr);
  // Sending waits where receiving does, so that neither waits for ever.
  PQsetnonblocking(conn, 1);
  connection->canceller_ = Canceller::make(conn);
  TRY(connection->pin_session(options));
  TRY(connection->learn_backend());
  if (options.replica_role) TRY(connection->take_replica_role());
  return connection;
}

Status Connection::learn_backend() {
  const Reply reply =
      run("SELECT pg_backend_pid(), (SELECT backend_start FROM pg_stat_activity WHERE pid = "
          "pg_backend_pid()), quote_ident(current_user)");
  if (!reply.ok()) return fail(to_error(*this, reply, "asking for the session's number"));
  backend_pid_ = std::stoi(std::string(reply.text(0, 0)));
  backend_start_ = reply.text(0, 1);
  role_ = reply.text(0, 2);
  return {};
}

Status Connection::pin_session(const Options& options) {
  const Reply reply = run(
      std::string(kPinned) +
      fmt::format("SET lock_timeout = {}; SET statement_timeout = {}; ",
                  options.lock_timeout.count(), options.statement_timeout.count()) +
      // remote_apply asks for more than `on`: leave it.
      "SELECT set_config('synchronous_commit', '" + (options.synchronous_commit ? "on" : "off") +
      "', false) WHERE current_setting('synchronous_commit') <> 'remote_apply'");
  if (!reply.ok()) return fail(to_error(*this, reply, "setting up the session"));
  return {};
}

Status Connection::take_replica_role() {
  const Reply reply = run("SET session_replication_role = replica");
  if (reply.ok()) return {};
  return fail(Error(
      reply.failure() == Failure::retryable ? ErrorCode::retryable : ErrorCode::bad_data,
      "constraints: replica is not allowed to the target's role " + role_ + ": " + reply.message(),
      "GRANT SET ON PARAMETER session_replication_role TO " + role_ +
          " (Postgres 15+), use a superuser, or set target.constraints to check"));
}

std::string Connection::connection_error() const {
  return given_up_.empty() ? trimmed(PQerrorMessage(conn_.get())) : given_up_;
}

std::vector<Reply> Connection::run_all(const std::string& sql) {
  return collect(PQsendQuery(conn_.get(), sql.c_str()) != 0);
}

std::vector<Reply> Connection::collect(bool sent) {
  std::vector<Reply> replies;
  while (sent) {
    await_result();
    PGresult* result = PQgetResult(conn_.get());
    if (result == nullptr) break;
    replies.emplace_back(result, connection_error());
  }
  if (replies.empty()) replies.emplace_back(nullptr, connection_error());
  return replies;
}

Reply Connection::last(bool sent) {
  auto replies = collect(sent);
  return std::move(replies.back());
}

Reply Connection::run(const std::string& sql) {
  auto replies = run_all(sql);
  return std::move(replies.back());
}

Reply Connection::run(const std::string& sql, Params params) {
  return last(PQsendQueryParams(conn_.get(), sql.c_str(), static_cast<int>(params.size()), nullptr,
                                params.data(), nullptr, nullptr, 0) != 0);
}

Reply Connection::run(const std::string& sql, std::initializer_list<std::string> params) {
  std::vector<const char*> values;
  for (const std::string& param : params) values.push_back(param.c_str());
  return run(sql, values);
}

Reply Connection::copy_begin(const std::string& sql) {
  std::vector<Reply> replies;
  bool sent = PQsendQuery(conn_.get(), sql.c_str()) != 0;
  while (sent) {
    await_result();
    PGresult* result = PQgetResult(conn_.get());
    if (result == nullptr) break;
    const bool copying = PQresultStatus(result) == PGRES_COPY_IN;
    replies.emplace_back(result, connection_error());
    if (copying) break;
  }
  if (replies.empty()) replies.emplace_back(nullptr, connection_error());
  return std::move(replies.back());
}

bool Connection::copy_put(std::string_view bytes) {
  const int queued = PQputCopyData(conn_.get(), bytes.data(), static_cast<int>(bytes.size()));
  if (queued == 1) await_sent();
  return queued == 1 && alive();
}

Reply Connection::copy_end(const char* refuse) {
  auto replies = collect(PQputCopyEnd(conn_.get(), refuse) == 1);
  const auto failed =
      std::find_if(replies.begin(), replies.end(), [](const Reply& reply) { return !reply.ok(); });
  return std::move(failed != replies.end() ? *failed : replies.front());
}

bool Connection::alive() const { return PQstatus(conn_.get()) == CONNECTION_OK; }

bool Connection::in_transaction() const {
  const auto status = PQtransactionStatus(conn_.get());
  return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

int Connection::server_version() const { return PQserverVersion(conn_.get()); }

std::string Connection::literal(std::string_view text) const {
  char* quoted = PQescapeLiteral(conn_.get(), text.data(), text.size());
  if (quoted == nullptr) return "NULL";
  std::string out = quoted;
  PQfreemem(quoted);
  return out;
}

Status check_dsn(const std::string& dsn) {
  char* message = nullptr;
  PQconninfoOption* options = PQconninfoParse(dsn.c_str(), &message);
  const std::string text = message == nullptr ? "no memory" : trimmed(message);
  PQfreemem(message);
  if (options == nullptr) return fail(ErrorCode::config, "target.dsn: " + text);
  PQconninfoFree(options);
  return {};
}

Error to_error(Connection& connection, const Reply& reply, std::string_view doing) {
  std::string message = fmt::format("{}: {}", doing, reply.message());
  if (!reply.sqlstate().empty()) message += fmt::format(" [{}]", reply.sqlstate());
  if (reply.sqlstate() == "57014" && connection.take_interrupted()) {
    return Error(ErrorCode::cancelled, "stopped while " + std::string(doing));
  }
  switch (reply.failure()) {
    case Failure::conflict:
      return Error(ErrorCode::conflict, std::move(message));
    case Failure::retryable:
      return Error(ErrorCode::retryable, std::move(message));
    case Failure::row:
    case Failure::schema:
    case Failure::other:
      break;
  }
  Error error(ErrorCode::bad_data, std::move(message));
  if (reply.sqlstate() != "42501") return error;
  return std::move(error).with_hint("`millrace check` prints the GRANT that the target's role " +
                                    connection.role() + " lacks");
}

}  // namespace millrace::postgres
