#include "connectors/postgres/verify_session.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "connectors/postgres/catalog.h"

namespace millrace::postgres {

namespace {

// A literal and its casts: nothing that could do or change anything when it is evaluated.
constexpr const char* kDefaults = R"(
  SELECT a.attname, (a.attmissingval::text::text[])[1], CASE WHEN d.sql ~
      '^\(?(''([^'']|'''')*''|-?[0-9.]+|true|false)\)?(::[a-zA-Z0-9_ "\[\](),.]+)*$'
    THEN 'CAST((' || d.sql || ') AS ' || format_type(a.atttypid, a.atttypmod) || ')::text' END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN LATERAL (SELECT pg_get_expr(adbin, adrelid) AS sql FROM pg_attrdef
    WHERE adrelid = c.oid AND adnum = a.attnum AND a.attgenerated = '') d ON true
  WHERE n.nspname = $1::text AND c.relname = $2::text
    AND (a.attmissingval IS NOT NULL OR d.sql IS NOT NULL))";

}  // namespace

Result<Connection*> VerifySession::connection() {
  if (!connection_ || !connection_->alive()) {
    TRY_ASSIGN(auto fresh, Connection::open(options_));
    const std::lock_guard lock(connection_mutex_);
    connection_ = std::move(fresh);
  }
  return connection_.get();
}

void VerifySession::close() {
  const std::lock_guard lock(connection_mutex_);
  connection_.reset();
  open_ = false;
}

void VerifySession::interrupt() {
  std::shared_ptr<Connection> connection;
  {
    const std::lock_guard lock(connection_mutex_);
    connection = connection_;
  }
  if (connection) connection->interrupt();
}

Result<compare::TableShape> VerifySession::table(const std::string& schema,
                                                 const std::string& name) {
  TRY_ASSIGN(Connection* const target, connection());
  TRY_ASSIGN(const auto found, read_table(*target, schema, name));
  compare::TableShape out;
  if (!found) return out;
  out.exists = found->kind == 'r' || found->kind == 'p';
  out.is_partitioned = found->kind == 'p';
  for (const CatalogColumn& column : found->columns) {
    out.columns.push_back({column.name, column.full_type, column.base_type, column.generated});
  }
  return out;
}

Status VerifySession::add_defaults(compare::TableShape& table, const std::string& schema,
                                   const std::string& name) {
  TRY_ASSIGN(Connection* const target, connection());
  const Reply found = target->run(kDefaults, {schema, name});
  if (!found.ok()) return fail(to_error(*target, found, "reading the columns' defaults"));
  for (int row = 0; row < found.rows(); ++row) {
    const auto column =
        std::find_if(table.columns.begin(), table.columns.end(),
                     [&](const auto& one) { return one.name == found.text(row, 0); });
    if (column == table.columns.end()) continue;
    if (!found.is_null(row, 1)) {
      column->fallback = found.text(row, 1);
    } else if (!found.is_null(row, 2)) {
      const Reply value = target->run("SELECT " + std::string(found.text(row, 2)));
      if (!value.ok() && value.failure() == Failure::retryable) {
        return fail(to_error(*target, value, "evaluating a column's default"));
      }
      if (value.ok() && !value.is_null(0, 0)) column->fallback = value.text(0, 0);
    }
  }
  return {};
}

Result<bool> VerifySession::is_in_the_way() {
  int pid = 0;
  {
    const std::lock_guard lock(connection_mutex_);
    if (connection_) pid = connection_->backend_pid();
  }
  if (pid == 0) return false;
  if (!watcher_ || !watcher_->alive()) {
    TRY_ASSIGN(watcher_, Connection::open(options_));
  }
  const Reply reply = watcher_->run(
      "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND $1::int4 = "
      "ANY(pg_blocking_pids(pid))",
      {std::to_string(pid)});
  if (!reply.ok()) return fail(to_error(*watcher_, reply, "looking for who waits for verify"));
  return reply.text(0, 0) == "t";
}

namespace {

constexpr size_t kValueShown = 60;

// Ends where a character ends.
std::string beginning(std::string_view text) {
  if (text.size() <= kValueShown) return std::string(text);
  size_t end = kValueShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace

Result<VerifySession::Violations> VerifySession::violations(const std::string& name,
                                                            const std::string& sql) {
  constexpr uint32_t kBoolean = 16;  // pg_type.dat
  TRY_ASSIGN(Connection* const target, connection());
  const Reply reply = target->run("SELECT * FROM (\n" + sql + "\n) AS i LIMIT 1000");
  if (!reply.ok()) return fail(to_error(*target, reply, "invariant " + name));
  const bool truth = reply.columns() == 1 && reply.type_oid(0) == kBoolean && reply.rows() == 1;
  Violations out;
  out.rows = static_cast<uint64_t>(reply.rows());
  if (truth && reply.text(0, 0) == "t") out.rows = 0;
  if (out.rows == 0) return out;
  for (int row = 0; row < std::min(reply.rows(), 5); ++row) {
    auto& example = out.examples.emplace_back();
    for (int column = 0; column < std::min(reply.columns(), 4); ++column) {
      std::optional<std::string> value;
      if (!reply.is_null(row, column)) value = beginning(reply.text(row, column));
      example.emplace_back(reply.name(column), std::move(value));
    }
  }
  return out;
}

Result<compare::TargetClock::Place> VerifySession::applied() {
  TRY_ASSIGN(Connection* const target, connection());
  const Reply reply = target->run(
      "SELECT end_lsn, epoch FROM millrace.applied WHERE pipeline = $1::text", {options_.pipeline});
  if (!reply.ok()) return fail(to_error(*target, reply, "reading the applied position"));
  if (reply.rows() == 0) {
    return fail(ErrorCode::negative,
                "the target has applied nothing of pipeline " + options_.pipeline,
                "`millrace run` makes and fills it");
  }
  Place place;
  place.applied = parse_lsn(reply.text(0, 0)).value_or(Lsn{});
  const std::string_view epoch = reply.text(0, 1);
  std::from_chars(epoch.data(), epoch.data() + epoch.size(), place.epoch);
  return place;
}

Result<compare::TargetClock::Place> VerifySession::begin() {
  TRY_ASSIGN(Connection* const target, connection());
  const Reply reply = target->run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  if (!reply.ok()) return fail(to_error(*target, reply, "opening a snapshot of the target"));
  open_ = true;
  auto place = applied();
  if (!place) end();
  return place;
}

void VerifySession::end() {
  open_ = false;
  if (connection_ && connection_->alive() && connection_->in_transaction()) {
    connection_->run("ROLLBACK");
  }
}

// Not over again on a new connection: what is read belongs to the snapshot that was opened.
Result<compare::Grid> VerifySession::run(std::string_view doing, const compare::Query& query) {
  if (open_ && !(connection_->alive() && connection_->in_transaction())) {
    return fail(ErrorCode::retryable, std::string(doing) + ": the target's snapshot is lost");
  }
  TRY_ASSIGN(Connection* const target, connection());
  std::vector<const char*> parameters;
  for (const std::string& parameter : query.parameters) parameters.push_back(parameter.c_str());
  const Reply reply = target->run(query.sql, Params(parameters));
  if (!reply.ok()) return fail(to_error(*target, reply, doing));
  compare::Grid grid(static_cast<size_t>(reply.rows()));
  for (int row = 0; row < reply.rows(); ++row) {
    for (int column = 0; column < reply.columns(); ++column) {
      auto& to = grid[static_cast<size_t>(row)];
      if (reply.is_null(row, column)) {
        to.emplace_back(std::nullopt);
      } else {
        to.emplace_back(std::string(reply.text(row, column)));
      }
    }
  }
  return grid;
}

}  // namespace millrace::postgres
