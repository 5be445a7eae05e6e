// PlanWriter, the part that completes rows of watched tables: a partial update may be the first
// that the target hears of a row, because its chunk is still to come.
#include <algorithm>
#include <utility>

#include "connectors/postgres/plan_writer.h"

namespace millrace::postgres {

using sink::PlannedRow;

Watched PlanWriter::scope_of(const TableSchema& schema) const {
  const std::string name = display_name(schema);
  Watched watched{connection_.literal(watch_.pipeline), connection_.literal(name), ""};
  const auto at = watch_.tables.find(name);
  if (at != watch_.tables.end() && at->second) {
    const Version floor = make_version(epoch_, at->second, 0);
    watched.stale = "'\\x" + to_hex(floor) + "'::bytea";
  }
  return watched;
}

// What the stream carried comes from it; only what it left out comes from the row as the source has
// it now. Is that newer than this change, then the change that made it so follows in the stream.
Status PlanWriter::complete(Groups& groups, const RowStatements& statements, Rows& rows) {
  if (!statements.incomplete || watch_.rows == nullptr || rows.empty()) return {};
  Table& table = *groups.table;
  Attempt failed;
  const auto reply = run(table, *statements.incomplete, rows, failed);
  if (!reply) return finish(std::move(failed));
  for (int r = 0; r < reply->rows(); ++r) {
    const size_t place = std::stoull(std::string(reply->text(r, 0))) - 1;
    const PlannedRow& row = *std::exchange(rows[place], nullptr);
    auto found = watch_.rows->row(table.binding.source, row.row);
    if (!found) {
      return fail(name_row(table, row, std::move(found).error()));
    }
    // It is gone by now: its delete, or the change of its key, follows in the stream.
    if (!*found) continue;
    Completed& completed = completed_.emplace_back();
    completed.values.assign(row.row.begin(), row.row.end());
    for (size_t i = 0; i < completed.values.size(); ++i) {
      Value& value = completed.values[i];
      if (value.kind != ValueKind::unchanged) continue;
      value = (**found)[i];
      value.text = completed.texts.emplace_back(value.text);
    }
    completed.planned.kind = PlannedRow::Kind::upsert;
    completed.planned.row = completed.values;
    completed.planned.position = row.position;
    groups.upserts.push_back(&completed.planned);
  }
  std::erase(rows, nullptr);
  return {};
}

}  // namespace millrace::postgres
