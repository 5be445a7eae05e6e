#include "connectors/postgres/target.h"

#include <set>
#include <utility>

#include <fmt/format.h>

#include "connectors/postgres/postgres_target.h"
#include "connectors/postgres/schema_change.h"
#include "connectors/postgres/setup.h"
#include "relay/base/logging.h"
#include "relay/base/mutation.h"

namespace millrace::postgres {

using sink::Applied;

namespace {

// The row's columns as SQL values, in the order of kAppliedColumns.
std::string applied_values(Connection& connection, const Applied& applied) {
  return fmt::format(
      "{}, {}, '{}', '{}', 'epoch'::timestamptz + {} * interval '1 microsecond', {}, {}, {}, "
      "clock_timestamp()",
      applied.epoch, applied.watermark.timeline, to_string(applied.watermark.end_lsn),
      to_string(applied.watermark.commit_lsn), applied.watermark.commit_time.value,
      connection.literal(applied.system_identifier), applied.token.value, applied.manifest_offset);
}

constexpr const char* kAppliedColumns =
    "epoch, timeline, end_lsn, commit_lsn, commit_time, system_identifier, token, manifest_offset, "
    "applied_at";

bool is_rejected(const Status& status) { return status.error().code() == ErrorCode::rejected; }

// How long ALTER TABLE waits for readers, while new ones wait behind it; then again after a wait.
constexpr int kAlterLockTimeoutMs = 2000;

int64_t number(std::string_view text) { return std::stoll(std::string(text)); }

}  // namespace

Result<std::unique_ptr<sink::Target>> make_target(Options options) {
  std::set<std::pair<std::string, std::string>> sources;
  for (const sink::TableMapping& mapping : options.tables) {
    if (sources.emplace(mapping.source_schema, mapping.source_table).second) continue;
    return fail(ErrorCode::config,
                "two mappings for " + quote_if_needed(mapping.source_schema) + "." +
                    quote_if_needed(mapping.source_table),
                "name each source table once under tables");
  }
  TRY(check_dsn(options.dsn));
  return std::unique_ptr<sink::Target>(std::make_unique<PostgresTarget>(std::move(options)));
}

Status PostgresTarget::connect() {
  open_ = false;
  next_.reset();
  if (connection_ && connection_->alive()) {
    if (connection_->in_transaction()) connection_->run("ROLLBACK");
    if (connection_->alive()) return {};
  }
  writer_.reset();
  known_.reset();
  TRY_ASSIGN(auto connection, Connection::open(options_));
  const std::lock_guard lock(connection_mutex_);
  connection_ = std::move(connection);
  known_ = std::make_unique<KnownTables>(*connection_, options_.tables);
  writer_ = std::make_unique<PlanWriter>(*connection_, *known_, options_.tables, watch_);
  return {};
}

Status PostgresTarget::lock_applier() {
  TRY(connect());
  if (locked_ == session()) return {};
  TRY(take_applier_lock(*connection_, options_.pipeline, locked_));
  locked_ = session();
  return {};
}

Session PostgresTarget::session() const {
  return {connection_->backend_pid(), connection_->backend_start()};
}

Result<std::optional<Applied>> PostgresTarget::applied() {
  TRY(connect());
  TRY_ASSIGN(stands_, read_applied());
  return stands_;
}

Result<std::optional<Applied>> PostgresTarget::read_applied() {
  const Reply reply = connection_->run(
      "SELECT epoch, timeline, end_lsn, commit_lsn, round(extract(epoch FROM commit_time) * "
      "1000000)::int8, "
      "system_identifier, token, manifest_offset, round(extract(epoch FROM applied_at) * "
      "1000000)::int8 "
      "FROM millrace.applied WHERE pipeline = $1::text",
      {options_.pipeline});
  if (!reply.ok()) {
    if (reply.sqlstate() == "42P01" || reply.sqlstate() == "3F000") return std::optional<Applied>();
    return fail(to_error(*connection_, reply, "reading the applied position"));
  }
  if (reply.rows() == 0) return std::optional<Applied>();
  const auto end_lsn = parse_lsn(reply.text(0, 2));
  const auto commit_lsn = parse_lsn(reply.text(0, 3));
  if (!end_lsn || !commit_lsn) return fail(ErrorCode::corruption, "millrace.applied holds no LSN");
  Applied applied;
  applied.epoch = static_cast<uint32_t>(number(reply.text(0, 0)));
  applied.watermark.timeline = static_cast<uint32_t>(number(reply.text(0, 1)));
  applied.watermark.end_lsn = *end_lsn;
  applied.watermark.commit_lsn = *commit_lsn;
  applied.watermark.commit_time = {number(reply.text(0, 4))};
  applied.system_identifier = reply.text(0, 5);
  applied.token = {number(reply.text(0, 6))};
  applied.manifest_offset = number(reply.text(0, 7));
  applied.applied_at = {number(reply.text(0, 8))};
  return std::optional<Applied>(std::move(applied));
}

Status PostgresTarget::set_origin(const Applied& origin) {
  TRY(connect());
  const Reply reply =
      connection_->run(fmt::format("INSERT INTO millrace.applied (pipeline, {}) VALUES ({}, {}) ON "
                                   "CONFLICT (pipeline) DO NOTHING",
                                   kAppliedColumns, connection_->literal(options_.pipeline),
                                   applied_values(*connection_, origin)));
  if (!reply.ok()) return fail(to_error(*connection_, reply, "writing the first applied position"));
  if (reply.affected() == 1) return {};
  return fail(ErrorCode::refused, "the target has an applied position already",
              "another instance has just begun with this pipeline: look at millrace status");
}

Result<std::vector<Error>> PostgresTarget::check(std::span<const TableSchemaPtr> source_tables) {
  TRY(connect());
  return check_tables(*connection_, options_, *known_, source_tables);
}

Status PostgresTarget::adapt(std::span<const TableSchemaPtr> shapes) {
  if (!options_.add_columns) return {};
  if (!connection_ || !connection_->alive()) {
    return fail(ErrorCode::retryable, "the target is not connected");
  }
  std::vector<TableSchemaPtr> unseen;
  for (const TableSchemaPtr& shape : shapes) {
    if (!adapted_.contains(shape->fingerprint)) unseen.push_back(shape);
  }
  TRY(known_->read(unseen));
  for (size_t i = 0; i < unseen.size(); ++i) {
    TRY_ASSIGN(const bool altered, add_columns(*unseen[i]));
    adapted_.insert(unseen[i]->fingerprint);
    if (altered) TRY(known_->read(std::span(unseen).subspan(i + 1)));
  }
  return {};
}

// In a transaction of its own: the lock is held for an instant, not for as long as rows are
// written, and readers that keep us waiting for it keep nobody waiting for long behind us. What was
// added before a crash is simply there afterwards. REQUIRES: known_ has read the shape. True: what
// is known of tables was forgotten.
Result<bool> PostgresTarget::add_columns(const TableSchema& shape) {
  if (known_->mapping_of(shape) == nullptr) return false;  // named when its rows are written
  const Binding& binding = known_->at(shape);
  const std::string sql = add_columns_sql(binding);
  if (sql.empty()) return false;  // what it lacks besides is named when its rows are written
  const Reply reply = connection_->run(
      fmt::format("BEGIN; SET LOCAL lock_timeout = {}; {}; COMMIT", kAlterLockTimeoutMs, sql));
  if (!reply.ok()) {
    const bool passes = reply.failure() == Failure::retryable;
    Error error = to_error(*connection_, reply, "adding what the source has (on_schema_change)");
    rollback();
    return fail(std::move(error)
                    .at(binding.display())
                    .with_hint(passes ? "who uses the table: pg_locks"
                                      : "let the table's owner run: " + sql));
  }
  logging::info("columns were added to the target: rows that are there already have NULL in them",
                {{"table", binding.display()}, {"sql", sql}});
  writer_->forget();
  return true;
}

Status PostgresTarget::check_session() const {
  if (!connection_ || !connection_->alive()) {
    return fail(ErrorCode::retryable, "the target is not connected");
  }
  if (locked_.pid != 0 && locked_ != session()) {
    return fail(ErrorCode::retryable, "the session that held the applier lock was lost");
  }
  return {};
}

// Behind a pooler that hands transactions to any session, this one need not hold the lock.
std::string PostgresTarget::stands_at(const Applied& expected) const {
  return fmt::format(
             "pipeline = {} AND timeline = {} AND end_lsn = '{}' AND token = {} AND "
             "manifest_offset = {}",
             connection_->literal(options_.pipeline), expected.watermark.timeline,
             to_string(expected.watermark.end_lsn), expected.token.value,
             expected.manifest_offset) +
         (locked_.pid == 0 ? "" : fmt::format(" AND pg_backend_pid() = {}", locked_.pid));
}

Status PostgresTarget::begin(const Applied& expected, const Applied& next) {
  TRY(check_session());
  if (open_) rollback();
  writer_->begin(next.epoch);
  // The update comes first: its row lock makes a second applier wait here, and then find 0 rows.
  const auto replies = connection_->run_all(fmt::format(
      "BEGIN; SET CONSTRAINTS ALL {}; UPDATE millrace.applied SET ({}) = ROW({}) WHERE {};{} "
      "SAVEPOINT millrace_plan",
      constraints_now_ ? "IMMEDIATE" : "DEFERRED", kAppliedColumns,
      applied_values(*connection_, next),
      stands_at(expected) + (letters_ready_ ? " RETURNING parked_edits" : ""),
      mutated("no_atomic") ? " COMMIT; BEGIN;" : ""));
  open_ = true;
  next_ = next;
  if (!replies.back().ok()) {
    return give_up(to_error(*connection_, replies.back(), "moving the applied position"));
  }
  savepoint_fresh_ = true;
  if (replies[2].affected() != 1) return moved_error(expected);
  if (letters_ready_) edits_ = number(replies[2].text(0, 0));
  return {};
}

Status PostgresTarget::moved_error(const Applied& expected) {
  const auto found = read_applied();
  rollback();
  if (!found) return fail(found.error());
  if (!*found) {
    return fail(ErrorCode::refused,
                "the target's applied position is gone: millrace.applied has no row for pipeline " +
                    options_.pipeline,
                "it was torn down or restored; millrace setup, and a new copy of the data");
  }
  if ((*found)->watermark == expected.watermark && (*found)->token == expected.token &&
      (*found)->manifest_offset == expected.manifest_offset) {
    return fail(ErrorCode::config,
                fmt::format("the target's transactions run in other sessions than {}, which holds "
                            "the applier lock: a pooler in transaction mode stands between",
                            locked_.pid),
                "let target.dsn reach the server itself, or a pooler in session mode");
  }
  return fail(
      ErrorCode::refused,
      fmt::format(
          "another instance applied up to {} (manifest {}), this one stood at {} (manifest {})",
          to_string((*found)->watermark), (*found)->manifest_offset, to_string(expected.watermark),
          expected.manifest_offset),
      "stop the other instance of this pipeline");
}

Status PostgresTarget::prepare_savepoint() {
  if (std::exchange(savepoint_fresh_, false)) return {};
  const Reply reply = connection_->run("RELEASE SAVEPOINT millrace_plan; SAVEPOINT millrace_plan");
  if (!reply.ok()) return fail(to_error(*connection_, reply, "setting a savepoint"));
  return {};
}

Status PostgresTarget::write(const sink::BatchPlan& plan, bool in_order) {
  if (!open_) return fail(ErrorCode::retryable, "no transaction is open in the target");
  // One change alone needs no way back: what fails then ends the transaction, unless it is parked.
  if (in_order && !options_.park) {
    savepoint_fresh_ = false;
  } else {
    if (auto ready = prepare_savepoint(); !ready) return give_up(std::move(ready).error());
  }
  Status status = writer_->write(plan, in_order, false);
  if (status) return {};
  if (options_.park ? in_order && is_rejected(status) && writer_->stale() : writer_->wants_care()) {
    TRY(go_back());
    if (options_.park) {
      // Somebody may have mended the table since it was looked at: the last word is the next one.
      writer_->forget();
      const Reply forgotten = connection_->run("DEALLOCATE ALL");
      if (!forgotten.ok()) return give_up(to_error(*connection_, forgotten, "preparing anew"));
    }
    status = writer_->write(plan, in_order, !options_.park);
    if (status) return {};
  }
  Error error = std::move(status).error();
  if (error.code() == ErrorCode::rejected && !(options_.park && in_order)) {
    error = std::move(error).with_code(options_.park ? ErrorCode::conflict : ErrorCode::bad_data);
  }
  // Likewise before the next attempt.
  if (error.code() == ErrorCode::bad_data) {
    writer_->forget_later();
    adapted_.clear();
  }
  if (error.code() != ErrorCode::conflict && error.code() != ErrorCode::rejected) {
    return give_up(std::move(error));
  }
  TRY(go_back());
  savepoint_fresh_ = true;
  return fail(std::move(error));
}

Status PostgresTarget::go_back() {
  const Reply back = connection_->run("ROLLBACK TO SAVEPOINT millrace_plan");
  if (back.ok()) return {};
  return give_up(to_error(*connection_, back, "going back to a savepoint"));
}

Status PostgresTarget::commit() { return commit(""); }

Status PostgresTarget::commit(const std::string& before) {
  if (!open_) return fail(ErrorCode::retryable, "no transaction is open in the target");
  const Reply reply = connection_->run(before + "COMMIT");
  open_ = false;
  if (reply.ok() && reply.command() == "COMMIT") {
    constraints_now_ = false;
    if (next_) stands_ = std::exchange(next_, std::nullopt);
    return {};
  }
  if (reply.ok())
    return give_up(Error(ErrorCode::retryable, "the target rolled the transaction back"));
  Error error = to_error(*connection_, reply, "committing");
  const bool violation = reply.failure() == Failure::conflict || reply.failure() == Failure::row;
  if (options_.park && violation && !std::exchange(constraints_now_, true)) {
    // Checked at once, the constraint says which row it is.
    return give_up(Error(ErrorCode::retryable, error.message(),
                         "the next attempt checks deferred constraints row by row, and parks"));
  }
  if (reply.failure() == Failure::conflict) {
    // Deferred constraints: the source's own hold at this point, so these are the target's alone.
    error = std::move(error)
                .with_code(ErrorCode::bad_data)
                .with_hint(
                    "a constraint of the target that the source does not have: drop it, or apply "
                    "with constraints: replica");
  } else if (reply.failure() == Failure::retryable) {
    error =
        Error(ErrorCode::retryable, error.message() + " (whether it was committed is not known)");
  }
  return give_up(std::move(error));
}

void PostgresTarget::rollback() {
  open_ = false;
  next_.reset();
  if (connection_ && connection_->alive() && connection_->in_transaction())
    connection_->run("ROLLBACK");
}

Status PostgresTarget::give_up(Error error) {
  rollback();
  return fail(std::move(error));
}

void PostgresTarget::interrupt() {
  std::shared_ptr<Connection> connection;
  {
    const std::lock_guard lock(connection_mutex_);
    connection = connection_;
  }
  if (connection) connection->interrupt();
}

}  // namespace millrace::postgres
