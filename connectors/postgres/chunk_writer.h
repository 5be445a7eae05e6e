// ChunkWriter: the rows of one chunk of history, into the transaction that is open.
//
// Invariant: whatever way it takes, the table is then what this says for each row: a key with a
// tombstone from the floor on is left out; a row that stands there is kept or, for a job that
// replaces, gives way when its version is older than the floor or NULL.
// Two ways: by the guarded statement, through the mapping; and where the mapping is plain and rows
// that stand are kept, by COPY of the lines as they came, without those whose key is taken. Which
// are taken a look at the chunk's range says (chunk_range.h), or at each key; COPY fails where a
// row was missed, and the statement writes the same rows.
// A row that the target rejects goes to the chunk's RowPark, if it has one, unless by the above it
// is to be left out anyway. One thread (the connection's).
#pragma once

#include <memory_resource>
#include <vector>

#include "connectors/postgres/plan_writer.h"
#include "relay/sink/target.h"

namespace millrace::postgres {

class ChunkWriter {
 public:
  ChunkWriter(Connection& connection, PlanWriter& writer)
      : connection_(connection), writer_(writer) {}

  // REQUIRES: the chunk holds rows or absent keys; a transaction is open, and the writer knows.
  // Errors: bad_data names table and key; negative: binary rows that are not to go by COPY. The
  // transaction is to be rolled back.
  Status write(const sink::Chunk& chunk, const sink::CopyJob& job);
  // The last one went by COPY, and could have been binary.
  bool takes_binary() const { return takes_binary_; }

 private:
  using Table = PlanWriter::Table;
  using RowSpan = PlanWriter::RowSpan;
  using Attempt = PlanWriter::Attempt;

  Status write_rows(Table& table, const sink::Chunk& chunk, bool replace);
  // False: nothing was written.
  Result<bool> copy_rows(Table& table, const sink::Chunk& chunk);
  Result<bool> copy_tuples(Table& table, const sink::Chunk& chunk);
  Version version_of(const sink::Chunk& chunk) const;
  Result<bool> has_tombstones(const Table& table, const sink::Chunk& chunk);
  // Marks the rows, from 0, that are to be left out.
  Result<std::vector<bool>> find_taken(Table& table, const sink::Chunk& chunk);
  Reply copy_lines(const Table& table, const sink::Chunk& chunk, const std::vector<bool>& taken);
  Reply put_tuples(const Table& table, const sink::Chunk& chunk, const std::vector<bool>& taken,
                   std::string& wrong);
  Status remove_absent(Table& table, const sink::Chunk& chunk);
  Status parse(const Table& table, const sink::Chunk& chunk);
  Status run(Table& table, const RowStatements& statements);
  Attempt run_halves(Table& table, const RowStatements& statements, RowSpan rows);
  // What is still to be said of a failure, with its savepoint open; nullopt: the row is parked.
  Attempt park(Table& table, RowSpan rows, Attempt failed);

  Connection& connection_;
  PlanWriter& writer_;
  const sink::Chunk* parks_ = nullptr;  // the chunk whose rows may be parked
  bool replace_ = false;
  bool takes_binary_ = false;
  std::pmr::monotonic_buffer_resource arena_;
  std::vector<Value> values_;
  std::vector<sink::PlannedRow> rows_;
  std::vector<const sink::PlannedRow*> pointers_;
};

}  // namespace millrace::postgres
