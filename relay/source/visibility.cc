#include "relay/source/visibility.h"

#include <utility>

#include "relay/base/mutation.h"

namespace millrace::source {

Result<Connection*> Visibility::connection() {
  if (!connection_ || !connection_->is_open()) {
    TRY_ASSIGN(connection_, Connection::open(options_));
    // The mark's own transaction must not wait for the standby that it is there to find out about.
    TRY(connection_->query("prepare a visibility mark", "SET synchronous_commit = local"));
  }
  return &*connection_;
}

// The LSN first: what committed before it had its transaction id before ours was given.
Result<Visibility::Mark> Visibility::mark() {
  TRY_ASSIGN(Connection* const source, connection());
  TRY_ASSIGN(const Rows end,
             source->query("read the end of WAL", "SELECT pg_current_wal_insert_lsn()"));
  Mark mark;
  mark.lsn = end.lsn(0, 0);
  TRY_ASSIGN(const Rows xid, source->query("take a transaction id", "SELECT pg_current_xact_id()"));
  mark.next_xid = static_cast<uint64_t>(xid.integer(0, 0));
  return mark;
}

Result<bool> Visibility::seen(const Mark& mark) {
  if (mutated("plain_lsn")) return true;
  TRY_ASSIGN(Connection* const source, connection());
  TRY_ASSIGN(const Rows rows,
             source->query("read the snapshot", "SELECT pg_snapshot_xmin(pg_current_snapshot())"));
  return static_cast<uint64_t>(rows.integer(0, 0)) >= mark.next_xid;
}

Result<std::string> Visibility::waiting_for(const Mark& mark) {
  TRY_ASSIGN(Connection* const source, connection());
  // backend_xid has 32 bits; those that are in progress lie within 2^31 of each other.
  TRY_ASSIGN(const Rows rows, source->query("look for the oldest transaction", R"(
    SELECT 'transaction ' || backend_xid || coalesce(' of process ' || pid, '') || ' (' ||
           coalesce(usename, 'unknown role') || '), open since ' || xact_start::timestamptz(0) ||
           coalesce(', waiting for ' || wait_event, '')
    FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
      AND age(backend_xid) >= age(($1::numeric % 4294967296)::text::xid)
    ORDER BY age(backend_xid) DESC LIMIT 1)",
                                            {std::to_string(mark.next_xid)}));
  if (rows.count() > 0) return rows.string(0, 0);
  TRY_ASSIGN(const Rows prepared, source->query("look for prepared transactions", R"(
    SELECT 'prepared transaction ' || quote_literal(gid) || ', open since ' ||
           prepared::timestamptz(0)
    FROM pg_prepared_xacts WHERE age(transaction) >= age(($1::numeric % 4294967296)::text::xid)
    ORDER BY age(transaction) DESC LIMIT 1)",
                                                {std::to_string(mark.next_xid)}));
  return prepared.count() > 0 ? prepared.string(0, 0) : std::string();
}

}  // namespace millrace::source
