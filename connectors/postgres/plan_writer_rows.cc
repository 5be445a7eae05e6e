// PlanWriter, the part that runs statements over rows and finds the row that the target rejects.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "connectors/postgres/plan_writer.h"
#include "connectors/postgres/schema_change.h"
#include "relay/base/failpoint.h"
#include "relay/base/mutation.h"

namespace millrace::postgres {

using sink::PlannedRow;

namespace {

// Of one statement's parameters: bounds memory here and in the backend.
constexpr size_t kStatementBytesMax = size_t{16} << 20;
constexpr size_t kKeyBytesShown = 200;

size_t bytes_of(const PlannedRow& row) {
  size_t bytes = 0;
  for (const Value& value : row.row) bytes += value.text.size() + 8;
  return bytes;
}

const Value& value_of(const PlannedRow& row, const Param& param) {
  return param.from == Param::From::before ? row.before[param.column] : row.row[param.column];
}

}  // namespace

Status PlanWriter::run_rows(Table& table, const RowStatements& statements, RowSpan rows) {
  while (!rows.empty()) {
    size_t count = 0;
    for (size_t bytes = 0; count < rows.size(); ++count) {
      bytes += bytes_of(*rows[count]);
      if (count > 0 && bytes > kStatementBytesMax) break;
    }
    TRY(finish(run_chunk(table, statements, rows.first(count))));
    MILLRACE_FAILPOINT(apply_upsert);
    rows = rows.subspan(count);
  }
  return {};
}

Status PlanWriter::finish(Attempt attempt) {
  if (attempt) return fail(std::move(attempt->error));
  if (mutated("no_atomic")) connection_.run("COMMIT; BEGIN; SAVEPOINT millrace_plan");
  return {};
}

PlanWriter::Attempt PlanWriter::run_chunk(Table& table, const RowStatements& statements,
                                          RowSpan rows) {
  if (careful_) return run_halves(table, statements, rows);
  Attempt failed = run_once(table, statements, rows);
  if (failed && failed->failure == Failure::row && rows.size() > 1) wants_care_ = true;
  return failed;
}

PlanWriter::Attempt PlanWriter::run_halves(Table& table, const RowStatements& statements,
                                           RowSpan rows) {
  const Reply savepoint = connection_.run("SAVEPOINT millrace_rows");
  if (!savepoint.ok()) return failed_reply(table, savepoint, rows);
  Attempt failed = run_once(table, statements, rows);
  if (failed && (failed->failure != Failure::row || rows.size() == 1)) return failed;
  const Reply done = connection_.run(
      failed ? "ROLLBACK TO SAVEPOINT millrace_rows; RELEASE SAVEPOINT millrace_rows"
             : "RELEASE SAVEPOINT millrace_rows");
  if (!done.ok()) return failed_reply(table, done, rows);
  if (!failed) return {};
  const size_t middle = rows.size() / 2;
  failed = run_halves(table, statements, rows.first(middle));
  return failed ? std::move(failed) : run_halves(table, statements, rows.subspan(middle));
}

PlanWriter::Attempt PlanWriter::run_once(Table& table, const RowStatements& statements,
                                         RowSpan rows) {
  Attempt failed;
  if (statements.filter && !run(table, *statements.filter, rows, failed)) return failed;
  const auto reply = run(table, statements.write, rows, failed);
  if (!reply) return failed;
  if (statements.missing && reply->affected() < rows.size())
    return find_missing(table, statements, rows);
  return {};
}

// Fewer rows were updated than sent: newer ones kept theirs, which is right, or rows are not there.
// In bulk that may be the order's fault (a cascade from a parent that went first): a conflict.
PlanWriter::Attempt PlanWriter::find_missing(Table& table, const RowStatements& statements,
                                             RowSpan rows) {
  Attempt failed;
  const auto reply = run(table, *statements.missing, rows, failed);
  if (!reply) return failed;
  if (reply->rows() == 0) return {};
  const size_t place = std::stoull(std::string(reply->text(0, 0))) - 1;
  Error error(in_order_ ? ErrorCode::rejected : ErrorCode::conflict,
              "the target has no such row and the change carries no full row",
              "copy the row to the target by hand, or re-create it at the source");
  return Failed{in_order_ ? Failure::other : Failure::conflict,
                name_row(table, *rows[place], std::move(error))};
}

std::optional<Reply> PlanWriter::run(Table& table, const Statement& statement, RowSpan rows,
                                     Attempt& failed) {
  if (arrays_.size() < statement.params.size()) arrays_.resize(statement.params.size());
  std::vector<const char*> params;
  for (size_t p = 0; p < statement.params.size(); ++p) {
    const Param& param = statement.params[p];
    ArrayLiteral& array = arrays_[p];
    array.clear();
    for (const PlannedRow* row : rows) {
      if (param.from == Param::From::version) {
        array.add(make_version(epoch_, row->position.commit_lsn, row->position.ordinal));
        continue;
      }
      const Value& value = value_of(*row, param);
      if (value.kind != ValueKind::text) {
        array.add_null();
      } else if (!array.add(value.text)) {
        failed = Failed{Failure::other, nul_error(table, *row, param.column)};
        return {};
      }
    }
    params.push_back(array.finish());
  }
  Reply reply = connection_.run_prepared(statement.sql, params);
  if (reply.ok()) return reply;
  failed = failed_reply(table, reply, rows);
  return {};
}

std::optional<Reply> PlanWriter::run_scalar(Table& table, const Statement& statement,
                                            const PlannedRow& row, Attempt& failed) {
  const PlannedRow* const one[] = {&row};
  std::vector<std::string> texts(statement.params.size());
  std::vector<const char*> params;
  for (size_t p = 0; p < statement.params.size(); ++p) {
    const Value& value = value_of(row, statement.params[p]);
    texts[p] = value.text;
    if (texts[p].find('\0') != std::string::npos) {
      failed = Failed{Failure::other, nul_error(table, row, statement.params[p].column)};
      return {};
    }
    params.push_back(value.kind == ValueKind::text ? texts[p].c_str() : nullptr);
  }
  Reply reply = connection_.run_prepared(statement.sql, params);
  if (reply.ok()) return reply;
  failed = failed_reply(table, reply, one);
  return {};
}

PlanWriter::Failed PlanWriter::failed_reply(Table& table, const Reply& reply, RowSpan rows) {
  Failure failure = reply.failure();
  Error error = to_error(connection_, reply, "writing to the target");
  if (failure == Failure::schema && table.binding.read_in != transaction_) {
    // Its tables were altered since they were read: what is prepared for them is stale.
    forget_next_ = true;
    return {Failure::retryable,
            std::move(error).with_code(ErrorCode::retryable).at(table.binding.display())};
  }
  const bool rejects = failure == Failure::row || (failure == Failure::conflict && in_order_);
  if (rejects) error = std::move(error).with_code(ErrorCode::rejected);
  if (failure == Failure::row) {
    std::string sql = mending_sql(table.binding, reply.sqlstate(), reply.column(), reply.message());
    if (!sql.empty()) error = std::move(error).with_hint(std::move(sql));
  }
  if (rows.size() == 1 && rejects) {
    return {failure, name_row(table, *rows.front(), std::move(error)), reply.sqlstate() == "23503"};
  }
  return {failure, std::move(error).at(table.binding.display())};
}

Error PlanWriter::nul_error(const Table& table, const PlannedRow& row, uint32_t column) const {
  return name_row(table, row,
                  Error(ErrorCode::rejected,
                        "column " + quote_if_needed(table.binding.source.columns[column].name) +
                            " holds a NUL byte, which Postgres can not store"));
}

Error PlanWriter::name_row(const Table& table, const PlannedRow& row, Error error) const {
  std::string columns;
  std::string values;
  const auto& source = table.binding.source.columns;
  for (size_t i = 0; i < source.size(); ++i) {
    if (!source[i].in_key) continue;
    columns += (columns.empty() ? "" : ", ") + quote_if_needed(source[i].name);
    values += (values.empty() ? "" : ", ") + std::string(row.row[i].text.substr(0, kKeyBytesShown));
  }
  Error named = std::move(error).at(table.binding.display());
  if (!columns.empty()) named = std::move(named).at("key (" + columns + ")=(" + values + ")");
  // A row of history has no place in the stream.
  if (row.position.timeline == 0) return named;
  return std::move(named).at("position " + to_string(row.position));
}

}  // namespace millrace::postgres
