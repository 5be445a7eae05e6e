#include "relay/source/verify_session.h"

#include <utility>

namespace millrace::source {
namespace {

// Ranges of keys are walked by their index. Nothing of ours waits for a standby.
constexpr const char* kSettings =
    "SELECT set_config('synchronous_commit', 'local', false), set_config('jit', 'off', false), "
    "set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false), "
    "set_config('enable_mergejoin', 'off', false), set_config('xmloption', 'content', false)";

constexpr const char* kColumns = R"(
  SELECT a.attname, format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, -1),
         a.attgenerated <> '', c.relkind = 'p'
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  WHERE n.nspname = $1 AND c.relname = $2 ORDER BY a.attnum)";

// The index that the replica identity names, or the primary key.
constexpr const char* kKeyIndex = R"(
  SELECT a.attname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_index i ON i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
    AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
  CROSS JOIN LATERAL unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY k(num, place)
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num
  WHERE n.nspname = $1 AND c.relname = $2 ORDER BY k.place)";

}  // namespace

Result<Connection*> VerifySession::connection() {
  if (!connection_ || !connection_->is_open()) {
    TRY_ASSIGN(connection_, Connection::open(options_));
    TRY(connection_->query("prepare a comparison", kSettings));
  }
  return &*connection_;
}

Result<compare::TableShape> VerifySession::table(const std::string& schema,
                                                 const std::string& name) {
  TRY_ASSIGN(Connection* const source, connection());
  TRY_ASSIGN(const Rows columns, source->query("read a table's columns", kColumns, {schema, name}));
  compare::TableShape out;
  out.exists = columns.count() > 0;
  for (int i = 0; i < columns.count(); ++i) {
    out.columns.push_back(
        {columns.string(i, 0), columns.string(i, 1), columns.string(i, 2), columns.boolean(i, 3)});
    out.is_partitioned = columns.boolean(i, 4);
  }
  TRY_ASSIGN(const Rows key, source->query("read a table's key", kKeyIndex, {schema, name}));
  for (int i = 0; i < key.count(); ++i) out.key_index.push_back(key.string(i, 0));
  return out;
}

Result<compare::SourceClock::Mark> VerifySession::mark() { return visibility_.mark(); }

Result<bool> VerifySession::seen(const Mark& mark) { return visibility_.seen(mark); }

Result<std::string> VerifySession::waiting_for(const Mark& mark) {
  return visibility_.waiting_for(mark);
}

Result<Lsn> VerifySession::end_of_wal() {
  TRY_ASSIGN(Connection* const source, connection());
  TRY_ASSIGN(const Rows rows,
             source->query("read the end of WAL", "SELECT pg_current_wal_insert_lsn()"));
  return rows.lsn(0, 0);
}

// A transactional message: its commit flushes the WAL up to it.
Status VerifySession::nudge() {
  TRY_ASSIGN(Connection* const source, connection());
  TRY(source->query("write a logical message",
                    "SELECT pg_logical_emit_message(true, 'millrace', 'verify')"));
  return {};
}

Result<compare::Grid> VerifySession::run(std::string_view doing, const compare::Query& query) {
  TRY_ASSIGN(Connection* const source, connection());
  const auto& given = query.parameters;
  auto answer = given.empty()       ? source->query(doing, query.sql)
                : given.size() == 1 ? source->query(doing, query.sql, {given[0]})
                : given.size() == 2
                    ? source->query(doing, query.sql, {given[0], given[1]})
                    : source->query(doing, query.sql, {given[0], given[1], given[2]});
  if (!answer) return fail(std::move(answer).error());
  const int columns = answer->columns();
  compare::Grid grid(static_cast<size_t>(answer->count()));
  for (int row = 0; row < answer->count(); ++row) {
    for (int column = 0; column < columns; ++column) {
      auto& to = grid[static_cast<size_t>(row)];
      if (answer->is_null(row, column)) {
        to.emplace_back(std::nullopt);
      } else {
        to.emplace_back(answer->string(row, column));
      }
    }
  }
  return grid;
}

}  // namespace millrace::source
