// Planner: collapses changes in source order into what the target must do, each key touched once.
//
// Invariant: writing the plans in order leaves the target as writing the changes one by one would.
// One thread. Plans are views into the changes and into the planner; the next call invalidates
// them.
//
// What one key becomes, from its state so far in the plan (none, present, removed) and the next
// change:
//   insert                     -> present, all values known
//   update, key kept           -> present; `unchanged` values come from the plan's own row, else
//   stay update, key A -> key B     -> A removed; B present, its row is A's: a `move` when A stood
//   in the target delete                     -> removed (also after an insert: the target may hold
//   the row already)
// Present with all values is `upsert`, with some unknown `partial`.
//
// A plan ends and a new one begins before
//   - a TRUNCATE (rows of its tables that the ending plan holds are dropped: they would be wiped);
//   - a change of a table in a shape other than the plan's;
//   - a move of partly unknown values to a key that the plan has already touched (a swap through a
//     temporary key): a bulk statement could not order it, two plans do.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <span>
#include <vector>

#include "relay/base/result.h"
#include "relay/sink/target.h"

namespace millrace::sink {

class Planner {
 public:
  Planner() = default;
  Planner(const Planner&) = delete;
  Planner& operator=(const Planner&) = delete;

  // REQUIRES: the truncate changes of one statement are not divided between two calls.
  // Errors: bad_data for an update or delete that says nothing about which row it means.
  Result<std::span<const BatchPlan>> plan(std::span<const Change> changes);

 private:
  struct Table {
    const TableSchema* schema = nullptr;
    std::vector<uint32_t> key_columns;   // empty: append-only or whole rows
    bool dropped = false;                // a truncate follows
    std::vector<PlannedRow> whole_rows;  // of a table without a key, in order
  };
  struct Entry {
    uint32_t table = 0;
    uint32_t slot = 0;
    uint32_t hash = 0;
    bool present = false;
    bool fresh = false;  // the first change was an insert
    Row key;             // any row that holds the key's columns
    Row row;
    Row origin;  // a row with the key under which the target held it before the plan; empty: it did
                 // not
    Position position;
  };

  Status add(const Change& change);
  Status add_whole(Table& table, const Change& change);
  void add_update(uint32_t table, const Change& change, Row after);
  void add_key_change(uint32_t table, const Change& change, Row completed);
  // Consecutive truncate changes of one statement, from changes[0]; returns how many.
  size_t add_truncate(std::span<const Change> changes);

  uint32_t table_of(const TableSchema* schema);
  Entry* find(uint32_t table, Row key);
  Entry& find_or_add(uint32_t table, Row key);
  uint32_t hash_key(uint32_t table, Row key) const;
  bool same_key(uint32_t table, Row a, Row b) const;
  void grow();

  bool key_known(uint32_t table, Row row) const;
  Row complete(uint32_t table, const Change& change);
  Value* allocate_row(size_t columns);
  Row merge(Row newer, Row older);
  // Ends the current plan, if it holds anything, and begins the next one at change `next_change_`.
  void flush();

  std::pmr::monotonic_buffer_resource arena_;
  std::vector<BatchPlan> plans_;
  BatchPlan current_;
  size_t next_change_ = 0;
  std::vector<Table> tables_;
  uint32_t last_table_ = 0;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  // open addressing: entry index + 1, 0 for free; a power of two
};

}  // namespace millrace::sink
