// Change: one row change, truncation or message of the stream; a view whose bytes live elsewhere.
//
// Lifetime: `table` is kept alive by whoever made the change (decoder or ChangeBatch), values and
// spans point into that maker's memory. A decoder's change is valid until its next message; a
// ChangeBatch's until the batch is cleared.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <span>
#include <string_view>
#include <vector>

#include "relay/base/ids.h"
#include "relay/event/table_schema.h"

namespace millrace {

// Persisted in row records: never renumber. The letters are pgoutput's own.
enum class ValueKind : uint8_t {
  null = 'n',
  unchanged = 'u',  // a TOASTed value that the update did not touch and the stream did not carry
  text = 't',       // Postgres text form, UTF-8
};

struct Value {
  ValueKind kind = ValueKind::null;
  std::string_view text;
  bool operator==(const Value&) const = default;
};

using Row = std::span<const Value>;

// Persisted in row records: never renumber.
enum class Op : uint8_t { insert = 1, update = 2, remove = 3, truncate = 4 };

std::string_view to_string(Op op);

struct Change {
  Op op = Op::insert;
  const TableSchema* table = nullptr;
  Position position;
  // insert, update: one value per column of `table`. Otherwise empty.
  Row after;
  // update: the old row when the key changed (non-key columns are then null and say nothing) or
  // with REPLICA IDENTITY FULL (every column). remove: the key, or the whole row with FULL.
  // Otherwise empty.
  Row before;
  // truncate: every table that the one statement emptied, this one included; all carry consecutive
  // ordinals, the first of them `truncate_first`.
  std::span<const uint64_t> truncated;  // fingerprints
  uint32_t truncate_first = 0;
  bool restart_identity = false;
};

// Owns the bytes of many changes in source order: an arena, cleared as a whole. One thread.
class ChangeBatch {
 public:
  ChangeBatch();
  ChangeBatch(const ChangeBatch&) = delete;
  ChangeBatch& operator=(const ChangeBatch&) = delete;

  // Deep-copies values and spans into the arena; keeps `table` alive.
  void add(const Change& change, const TableSchemaPtr& table);
  // For decoders that fill the arena themselves.
  std::pmr::memory_resource& arena() { return arena_; }
  void add_owned(const Change& change, const TableSchemaPtr& table);

  std::span<const Change> changes() const { return changes_; }
  bool empty() const { return changes_.empty(); }
  size_t size() const { return changes_.size(); }
  // Bytes held for values and bookkeeping: what memory limits count.
  size_t bytes() const { return bytes_; }
  void clear();

 private:
  std::pmr::monotonic_buffer_resource arena_;
  std::vector<Change> changes_;
  std::vector<TableSchemaPtr> tables_;
  size_t bytes_ = 0;
};

}  // namespace millrace
