// PlanWriter, the part that writes rows by COPY where nothing can be in their way.
//
// COPY has no ON CONFLICT and no guard, and costs the target's backend half of the statement that
// has them. It needs neither where the key is not in the table: then there is no row, older or
// newer, to compare with, and the guarded statement would insert just the same. Whether that is so
// the unique index says: where a key is there, COPY fails, its savepoint takes everything back, and
// the guarded statement writes the same rows. So what the planner says of a row (`fresh`) decides
// about speed alone. Any other failure is left to that statement too, which names the row.
#include <algorithm>
#include <utility>

#include "connectors/postgres/plan_writer.h"
#include "relay/base/failpoint.h"

namespace millrace::postgres {

namespace {

// Fewer rows are cheaper in a prepared statement: COPY takes one exchange more, and is parsed.
constexpr size_t kCopyRowsMin = 40;
// After a COPY in vain a table goes without, for twice as long each time.
constexpr unsigned kPenaltyMin = 4;
constexpr unsigned kPenaltyMax = 1024;

}  // namespace

bool PlanWriter::put_rows(const Table& table, RowSpan rows) {
  for (const sink::PlannedRow* row : rows) {
    for (const Output& output : table.binding.outputs) {
      const Value& value = row->row[static_cast<size_t>(output.source)];
      if (value.kind != ValueKind::text) {
        copier_.add_null();
      } else if (!copier_.add(value.text)) {
        return false;
      }
    }
    if (table.binding.keyed) {
      copier_.add(make_version(epoch_, row->position.commit_lsn, row->position.ordinal));
    }
    if (!copier_.end_row()) break;  // the reply says why
  }
  return true;
}

Result<bool> PlanWriter::copy_rows(Table& table, RowSpan rows) {
  Copying& copying = table.copying;
  if (copying.sql.empty() || careful_ || in_order_ || rows.size() < kCopyRowsMin) return false;
  if (copying.skip > 0) {
    --copying.skip;
    return false;
  }
  Reply reply = copier_.begin(copying.sql);
  bool refused = false;  // by ourselves: the server says then that it was cancelled
  if (reply.ok()) {
    refused = !put_rows(table, rows);
    reply = refused ? copier_.abandon() : copier_.finish();
  }
  if (reply.ok()) {
    copying.penalty /= 2;
    TRY(finish(Attempt()));
    MILLRACE_FAILPOINT(apply_upsert);
    return true;
  }
  if (reply.failure() == Failure::retryable && !(refused && !reply.sqlstate().empty())) {
    return fail(failed_reply(table, reply, rows).error);
  }
  copying.penalty = std::clamp(copying.penalty * 2, kPenaltyMin, kPenaltyMax);
  copying.skip = copying.penalty;
  const std::string name = kCopySavepoint;
  const Reply back =
      connection_.run("ROLLBACK TO SAVEPOINT " + name + "; RELEASE SAVEPOINT " + name);
  if (!back.ok()) return fail(failed_reply(table, back, rows).error);
  return false;
}

}  // namespace millrace::postgres
