// ChunkReader: the rows of one table in key order, a piece at a time, each by one short read-only
// statement: no locks beyond it, no snapshot that lives longer.
//
// Order and comparison are the source's own (types, collations), in SQL, over the primary key or
// the index that is the replica identity. Values are the text that the stream has, because the
// session's settings are the same (conninfo.h). Invariant: the rows of a piece are all rows of
// its range up to its last key that one snapshot saw. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "relay/base/ids.h"
#include "relay/base/result.h"
#include "relay/event/change.h"
#include "relay/event/table_schema.h"
#include "relay/source/catalog.h"
#include "relay/source/connection.h"
#include "relay/source/options.h"

namespace millrace::source {

// Values of the key's columns, in the order in which the table has them (not the index), as
// Postgres text.
using KeyValues = std::vector<std::string>;

struct TableToRead {
  struct KeyColumn {
    std::string name;
    std::string type;  // as SQL writes it, without a length
    size_t place = 0;  // among the schema's columns
    size_t value = 0;  // among a KeyValues
  };
  TableSchemaPtr schema;  // as Catalog has it: no dropped and no generated columns
  bool is_partitioned = false;
  std::vector<KeyColumn> key;  // in the index's order; empty: no order to read by
};

// (after, until] and `where`, SQL over the source's columns.
struct RowRange {
  std::optional<KeyValues> after;
  std::optional<KeyValues> until;
  std::string where;
};

struct PieceLimits {
  uint64_t rows = 1000;
  uint64_t bytes = 4U << 20;  // the piece ends behind the row that passes it
  bool binary = false;        // if every column, and the key's text, can be had so
};

struct Piece {
  std::string copy;     // COPY's text format, the schema's columns in order; or
  bool binary = false;  // tuples of its binary format, without head and end (copy_binary.h)
  uint64_t rows = 0;
  std::optional<KeyValues> first_key, last_key;
  bool end = false;  // nothing is left of the range
};

class ChunkReader {
 public:
  explicit ChunkReader(Options options);

  // By its name as display_name writes it. Errors: bad_data when there is no such table.
  Result<TableToRead> table(const std::string& name);
  // From the statistics; nullopt where it was never analysed.
  Result<std::optional<uint64_t>> estimate(const TableToRead& table, const RowRange& range);
  // The largest key of the range; nullopt when it is empty.
  Result<std::optional<KeyValues>> largest_key(const TableToRead& table, const RowRange& range);
  Result<Piece> read(const TableToRead& table, const RowRange& range, const PieceLimits& limits);
  // The rows under these keys, and which of the keys have none; one snapshot for both.
  Result<Piece> read_keys(const TableToRead& table, const std::vector<KeyValues>& keys,
                          std::vector<KeyValues>& absent);
  // Tries the range without reading rows. Errors: config, with the server's words.
  Status check(const TableToRead& table, const RowRange& range);
  // One value a column of `schema` (null for one that the source has no more), as views until the
  // next call; `key` is a row of `schema` with at least its key columns. nullopt: no such row.
  Result<std::optional<Row>> row(const TableSchema& schema, Row key);
  // Any query, for what a user gives to be asked (the throttle); the first row.
  Result<Rows> query(std::string_view doing, const std::string& sql);

 private:
  Result<Connection*> connection();
  Result<std::string> tuple(const TableToRead& table, const KeyValues& key);
  Result<std::string> condition(const TableToRead& table, const RowRange& range);
  // False: cut at the byte limit.
  Result<bool> copy(const TableToRead& table, const std::string& where, const PieceLimits& limits,
                    Piece& piece);

  Options options_;
  Catalog catalog_;
  std::optional<Connection> connection_;
  uint64_t row_shape_ = 0;  // fingerprint of the last shape that row() was asked for
  SteadyTime row_table_until_;
  TableToRead row_table_;
  std::optional<Rows> row_;  // what row() returned views of
  std::vector<Value> values_;
};

}  // namespace millrace::source
