#include "connectors/postgres/chunk_writer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "connectors/postgres/chunk_range.h"
#include "relay/event/copy_binary.h"
#include "relay/event/copy_text.h"

namespace millrace::postgres {

using sink::Chunk;
using sink::CopyJob;
using sink::KeyText;
using sink::PlannedRow;

namespace {

constexpr size_t kStatementBytesMax = size_t{16} << 20;
constexpr size_t kPieceBytes = size_t{64} << 10;
// After rows were found in the way, so many chunks are looked up by key.
constexpr unsigned kLookMax = 16;

// Just below the floor: a change whose commit record begins there is newer. No timeline: it is no
// place in the stream.
Position position_below(Lsn floor) {
  return {0, Lsn{floor.value - 1}, std::numeric_limits<uint32_t>::max()};
}

size_t bytes_of(const PlannedRow& row) {
  size_t bytes = 0;
  for (const Value& value : row.row) bytes += value.text.size() + 8;
  return bytes;
}

}  // namespace

Status ChunkWriter::write(const Chunk& chunk, const CopyJob& job) {
  if (chunk.floor.value == 0) return fail(ErrorCode::fatal, "a chunk without a floor");
  writer_.in_order_ = true;  // a constraint that fails is the row's fault
  writer_.careful_ = false;
  TRY(writer_.load_ranks());
  TRY_ASSIGN(Table* const table, writer_.table_of(*chunk.table));
  if (!table->binding.keyed) {
    return fail(Error(ErrorCode::bad_data, "history is copied by the key, and the table has none",
                      "add a primary key to it on the source")
                    .at(table->binding.display()));
  }
  Status status;
  if (chunk.rows > 0) status = write_rows(*table, chunk, job.replace);
  if (status && job.delete_extra && !chunk.absent.empty()) status = remove_absent(*table, chunk);
  rows_.clear();
  pointers_.clear();
  values_.clear();
  arena_.release();
  if (status) return {};
  Error error = std::move(status).error();
  if (error.code() == ErrorCode::rejected || error.code() == ErrorCode::conflict) {
    error = std::move(error).with_code(ErrorCode::bad_data);
  }
  return fail(std::move(error).at(fmt::format("job {}", job.id)));
}

Status ChunkWriter::write_rows(Table& table, const Chunk& chunk, bool replace) {
  if (!table.chunks) {
    const Watched scope = writer_.scope_of(*chunk.table);
    const Binding& binding = table.binding;
    table.chunks =
        ChunkPlan{chunk_statements(binding, scope, false), chunk_statements(binding, scope, true),
                  taken_statement(binding, scope),         chunk_copy_sql(binding),
                  chunk_copy_binary_sql(binding),          range_look(binding, scope)};
  }
  if (chunk.binary) {
    if (!replace && !table.chunks->copy_binary.empty()) {
      TRY_ASSIGN(takes_binary_, copy_tuples(table, chunk));
      if (takes_binary_) return {};
    }
    return fail(ErrorCode::negative, "these rows can not be copied as they are");
  }
  const auto ends = std::count(chunk.copy.begin(), chunk.copy.end(), '\n');
  const size_t lines =
      static_cast<size_t>(ends) + (chunk.copy.empty() || chunk.copy.back() == '\n' ? 0 : 1);
  if (lines != chunk.rows) {
    return fail(
        Error(ErrorCode::fatal, fmt::format("a chunk of {} rows holds {} lines", chunk.rows, lines))
            .at(table.binding.display()));
  }
  if (!replace && !table.chunks->copy.empty()) {
    TRY_ASSIGN(const bool copied, copy_rows(table, chunk));
    const ChunkPlan& plan = *table.chunks;
    takes_binary_ =
        copied && !plan.copy_binary.empty() && !plan.range.places.empty() && plan.look == 0;
    if (copied) return {};
  }
  TRY(parse(table, chunk));
  parks_ = chunk.park != nullptr ? &chunk : nullptr;
  replace_ = replace;
  Status written = run(table, replace ? table.chunks->replace : table.chunks->keep);
  parks_ = nullptr;  // a row that is to be removed, and is not let go, is no letter
  return written;
}

Result<bool> ChunkWriter::copy_rows(Table& table, const Chunk& chunk) {
  unsigned& look = table.chunks->look;
  bool looks = look > 0;
  while (true) {
    std::vector<bool> taken;
    if (!looks) {
      TRY_ASSIGN(auto in_range,
                 taken_in_range(connection_, table.chunks->range, chunk, version_of(chunk)));
      if (in_range) {
        taken = std::move(*in_range);
      } else {
        TRY_ASSIGN(looks, has_tombstones(table, chunk));
      }
    }
    if (looks) {
      TRY_ASSIGN(taken, find_taken(table, chunk));
      const bool any = std::find(taken.begin(), taken.end(), true) != taken.end();
      look = any ? kLookMax : look - (look > 0 ? 1 : 0);
    }
    const Reply reply = copy_lines(table, chunk, taken);
    if (reply.ok()) return true;
    if (reply.failure() == Failure::retryable) {
      return fail(writer_.failed_reply(table, reply, pointers_).error);
    }
    const Reply back =
        connection_.run("ROLLBACK TO SAVEPOINT millrace_rows; RELEASE SAVEPOINT millrace_rows");
    if (!back.ok()) return fail(writer_.failed_reply(table, back, pointers_).error);
    if (looks || reply.failure() != Failure::conflict) return false;
    looks = true;
    look = kLookMax;
  }
}

// False: they are to come as text, for the look at each key or for the statement.
Result<bool> ChunkWriter::copy_tuples(Table& table, const Chunk& chunk) {
  if (table.chunks->look > 0) return false;
  TRY_ASSIGN(const auto taken,
             taken_in_range(connection_, table.chunks->range, chunk, version_of(chunk)));
  if (!taken) return false;
  std::string wrong;
  const Reply reply = put_tuples(table, chunk, *taken, wrong);
  if (reply.ok()) return true;
  if (!wrong.empty()) return fail(Error(ErrorCode::fatal, wrong).at(table.binding.display()));
  if (reply.failure() != Failure::retryable) return false;
  return fail(writer_.failed_reply(table, reply, pointers_).error);
}

// They are counted on the way: the target would wait while it is done first.
Reply ChunkWriter::put_tuples(const Table& table, const Chunk& chunk,
                              const std::vector<bool>& taken, std::string& wrong) {
  Reply begun = connection_.copy_begin(table.chunks->copy_binary);
  if (!begun.ok()) return begun;
  const Version made = version_of(chunk);
  const std::string version(made.bytes.begin(), made.bytes.end());
  std::string piece(kCopyBinaryHeader);
  piece.reserve(kPieceBytes * 2);
  size_t number = 0;
  std::string_view rest = chunk.copy;
  for (auto tuple = take_copy_tuple(rest); tuple; tuple = take_copy_tuple(rest)) {
    const size_t row = number++;
    if (row < taken.size() && taken[row]) continue;
    append_copy_tuple(piece, *tuple, version);
    if (piece.size() < kPieceBytes) continue;
    if (!connection_.copy_put(piece)) return connection_.copy_end(nullptr);  // it says why
    piece.clear();
  }
  if (number != chunk.rows || !rest.empty()) {
    wrong = fmt::format("a chunk of {} rows holds {} whole tuples", chunk.rows, number);
    return connection_.copy_end(wrong.c_str());
  }
  piece.append(kCopyBinaryEnd);
  connection_.copy_put(piece);
  return connection_.copy_end(nullptr);
}

Version ChunkWriter::version_of(const Chunk& chunk) const {
  const Position position = position_below(chunk.floor);
  return make_version(writer_.epoch_, position.commit_lsn, position.ordinal);
}

Result<bool> ChunkWriter::has_tombstones(const Table& table, const Chunk& chunk) {
  const Watched scope = writer_.scope_of(*chunk.table);
  const Reply reply = connection_.run(fmt::format(
      "SELECT EXISTS (SELECT 1 FROM millrace.tombstone WHERE pipeline = {} AND source_table = {} "
      "AND version >= '\\x{}'::bytea)",
      scope.pipeline, scope.table, to_hex(version_of(chunk))));
  if (reply.ok()) return reply.text(0, 0) == "t";
  return fail(to_error(connection_, reply, "looking for tombstones").at(table.binding.display()));
}

Result<std::vector<bool>> ChunkWriter::find_taken(Table& table, const Chunk& chunk) {
  TRY(parse(table, chunk));
  Attempt failed;
  const auto reply = writer_.run(table, table.chunks->taken, pointers_, failed);
  if (!reply) return fail(std::move(failed->error));
  std::vector<bool> taken(rows_.size());
  for (int row = 0; row < reply->rows(); ++row) {
    taken[std::stoull(std::string(reply->text(row, 0))) - 1] = true;
  }
  return taken;
}

// Not ok: the savepoint is to be gone back to.
Reply ChunkWriter::copy_lines(const Table& table, const Chunk& chunk,
                              const std::vector<bool>& taken) {
  Reply begun = connection_.copy_begin(table.chunks->copy);
  if (!begun.ok()) return begun;
  const std::string end = "\t\\\\x" + to_hex(version_of(chunk)) + "\n";
  std::string piece;
  piece.reserve(kPieceBytes * 2);
  size_t number = 0;
  for (std::string_view rest = chunk.copy; !rest.empty(); ++number) {
    const std::string_view line = take_copy_line(rest);
    if (number < taken.size() && taken[number]) continue;
    piece.append(line).append(end);
    if (piece.size() < kPieceBytes) continue;
    if (!connection_.copy_put(piece)) break;  // the reply says why
    piece.clear();
  }
  if (!piece.empty()) connection_.copy_put(piece);
  return connection_.copy_end(nullptr);
}

Status ChunkWriter::parse(const Table& table, const Chunk& chunk) {
  if (rows_.size() == chunk.rows) return {};  // it was looked at
  const size_t columns = chunk.table->columns.size();
  const Position position = position_below(chunk.floor);
  values_.reserve(chunk.rows * columns);
  rows_.reserve(chunk.rows);
  std::string_view rest = chunk.copy;
  while (!rest.empty()) {
    read_copy_line(take_copy_line(rest), arena_, values_);
    if (values_.size() != (rows_.size() + 1) * columns) {
      return fail(
          Error(ErrorCode::fatal, fmt::format("a line of a chunk has not {} columns", columns))
              .at(table.binding.display()));
    }
    PlannedRow& row = rows_.emplace_back();
    row.position = position;
  }
  pointers_.clear();
  for (size_t i = 0; i < rows_.size(); ++i) {
    rows_[i].row = Row(values_).subspan(i * columns, columns);
    pointers_.push_back(&rows_[i]);
  }
  return {};
}

// The guard is that of a stream's delete.
Status ChunkWriter::remove_absent(Table& table, const Chunk& chunk) {
  const auto& columns = chunk.table->columns;
  rows_.clear();
  pointers_.clear();
  values_.assign(chunk.absent.size() * columns.size(), Value{});
  for (size_t i = 0; i < chunk.absent.size(); ++i) {
    size_t next = 0;
    Value* const row = &values_[i * columns.size()];
    for (size_t c = 0; c < columns.size(); ++c) {
      if (!columns[c].in_key || next >= chunk.absent[i].size()) continue;
      row[c] = {ValueKind::text, chunk.absent[i][next++]};
    }
    PlannedRow& planned = rows_.emplace_back();
    planned.kind = PlannedRow::Kind::remove;
    planned.row = Row(row, columns.size());
    planned.position = position_below(chunk.floor);
  }
  for (const PlannedRow& row : rows_) pointers_.push_back(&row);
  return run(table, remove_statements(table.binding));
}

Status ChunkWriter::run(Table& table, const RowStatements& statements) {
  RowSpan rows = pointers_;
  while (!rows.empty()) {
    size_t count = 0;
    for (size_t bytes = 0; count < rows.size(); ++count) {
      bytes += bytes_of(*rows[count]);
      if (count > 0 && bytes > kStatementBytesMax) break;
    }
    if (Attempt failed = run_halves(table, statements, rows.first(count))) {
      return fail(std::move(failed->error));
    }
    rows = rows.subspan(count);
  }
  return {};
}

// Constraints too are looked for row by row: the error names the one.
PlanWriter::Attempt ChunkWriter::run_halves(Table& table, const RowStatements& statements,
                                            RowSpan rows) {
  const Reply savepoint = connection_.run("SAVEPOINT millrace_rows");
  if (!savepoint.ok()) return writer_.failed_reply(table, savepoint, rows);
  Attempt failed = writer_.run_once(table, statements, rows);
  const bool divide = failed && rows.size() > 1 &&
                      (failed->failure == Failure::row || failed->failure == Failure::conflict);
  if (failed && !divide) return park(table, rows, std::move(failed));
  const Reply done = connection_.run(
      failed ? "ROLLBACK TO SAVEPOINT millrace_rows; RELEASE SAVEPOINT millrace_rows"
             : "RELEASE SAVEPOINT millrace_rows");
  if (!done.ok()) return writer_.failed_reply(table, done, rows);
  if (!failed) return {};
  const size_t middle = rows.size() / 2;
  failed = run_halves(table, statements, rows.first(middle));
  return failed ? std::move(failed) : run_halves(table, statements, rows.subspan(middle));
}

// A parent may be on its way, by the stream or by its own copy: a row that lacks one is no letter.
PlanWriter::Attempt ChunkWriter::park(Table& table, RowSpan rows, Attempt failed) {
  const bool rejected = failed->error.code() == ErrorCode::rejected && !failed->parent_missing;
  if (parks_ == nullptr || rows.size() != 1 || !rejected) return failed;
  const Chunk& chunk = *parks_;
  Reply back = connection_.run("ROLLBACK TO SAVEPOINT millrace_rows");
  if (!back.ok()) return writer_.failed_reply(table, back, rows);
  // The statement may have failed before it came to look: a value that is no number is none, also
  // where the row was deleted since.
  Attempt blind;
  const auto taken = writer_.run(
      table, taken_statement(table.binding, writer_.scope_of(*chunk.table), replace_), rows, blind);
  back = connection_.run("ROLLBACK TO SAVEPOINT millrace_rows; RELEASE SAVEPOINT millrace_rows");
  if (!back.ok()) return writer_.failed_reply(table, back, rows);
  if (taken && taken->rows() > 0) return {};
  const PlannedRow& row = *rows.front();
  Change change;
  change.table = chunk.table.get();
  change.position = row.position;
  change.after = row.row;
  auto parked = chunk.park->park_row(change, failed->error);
  if (parked) return {};
  return PlanWriter::Failed{Failure::other, std::move(parked).error()};
}

}  // namespace millrace::postgres
