// HistoryStatements: the SQL by which a stream leaves tombstones, and chunks of history step around
// what the stream wrote (relay/sink/history.h). Rows reach it as in statements.h.
//
// A tombstone's key is the target's key, each column as text: the session's settings are pinned, so
// the same key has the same text whatever the source's session said.
// Pure functions: no connection, no state.
#pragma once

#include <string>
#include <vector>

#include "connectors/postgres/statements.h"

namespace millrace::postgres {

// Of a table with an open job. SQL literals.
struct Watched {
  std::string pipeline;
  std::string table;  // of the source
  std::string stale;  // bytea: a partial update of a row older than this is completed; or empty
};

// "WITH … ", to stand before a statement that removes rows of `from`, as rows_sql made it with
// their versions: leaves a tombstone for each, or for those of which `condition` is true.
std::string tombstones_sql(const Binding& binding, const Watched& watched, const std::string& from,
                           const std::string& condition);

// Which rows of an update that lacks values must be completed: the numbers (from 1) of all that are
// not there, or are older than `stale`. `like`: of the update.
Statement incomplete_statement(const Binding& binding, const Watched& watched,
                               const RowsShape& like, bool move);

// The numbers of a chunk's rows that are left out: a row stands there (with `replace`: one that is
// no older), or a tombstone forbids.
Statement taken_statement(const Binding& binding, const Watched& watched, bool replace = false);

// COPY's command for a chunk's lines with the version at their ends, in savepoint millrace_rows.
// Empty where SQL of the mapping is to see the rows, or the lines hold what the target does not
// take.
std::string chunk_copy_sql(const Binding& binding);
// Likewise for binary tuples; empty also where the target's types are not the source's.
std::string chunk_copy_binary_sql(const Binding& binding);

// What stands in the range that a chunk covers, or stood there: chunk_range.h. Parameters: the
// first key, the last one, the version of the chunk's rows, how many rows at most, how many
// tombstones. Returns whether a row stands, and its key.
struct RangeLook {
  std::string sql;
  std::vector<size_t>
      places;  // of the key among the columns of a line; empty: there is no such look
};
RangeLook range_look(const Binding& binding, const Watched& watched);

// How the chunks of one table are written: chunk_writer.h.
struct ChunkPlan {
  RowStatements keep, replace;
  Statement taken;
  std::string copy, copy_binary;  // the second: empty where the types are not the source's
  RangeLook range;
  unsigned look = 0;  // so many chunks are looked up before they are copied
};

// Rows of a chunk: inserted where no row stands and no tombstone forbids; with `replace` older rows
// give way, and go where the filter does not let theirs through.
RowStatements chunk_statements(const Binding& binding, const Watched& watched, bool replace);

}  // namespace millrace::postgres
