// RowValues: the values of one row of a record while they arrive, checked against the table's
// columns.
//
// Views into the record until own() copies them. One thread; for relay/wire/row_decoder.cc only.
#pragma once

#include <memory_resource>
#include <span>
#include <string_view>

#include "relay/base/result.h"
#include "relay/event/change.h"

namespace millrace::wire {

class RowValues {
 public:
  // `name` is "new row" or "old row": for messages.
  explicit RowValues(std::string_view name) : name_(name) {}

  // One letter a column. Takes memory for as many values as `table` has columns, never more.
  Status set_kinds(std::string_view kinds, const TableSchema& table,
                   std::pmr::memory_resource& arena);
  // The value of the next column that is text.
  Status add(std::string_view text);
  // Errors: corruption when a column has no value.
  Status finish() const;
  // Moves the texts into the arena, in one piece. The memory is the arena's.
  Row own(std::pmr::memory_resource& arena);

  bool seen() const { return seen_; }
  size_t size() const { return values_.size(); }

 private:
  void skip_to_text() {
    while (next_ < values_.size() && values_[next_].kind != ValueKind::text) ++next_;
  }

  std::string_view name_;
  std::span<Value> values_;
  size_t next_ = 0;  // the column that the next value belongs to
  size_t bytes_ = 0;
  bool seen_ = false;
};

}  // namespace millrace::wire
