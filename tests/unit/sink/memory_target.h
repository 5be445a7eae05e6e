// MemoryTarget: a target of maps that takes plans literally, and complains where a plan is not
// sound.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "relay/sink/target.h"

namespace millrace::sink::test {

using Text = std::string;  // "\x01" stands for NULL
using MemoryRow = std::vector<Text>;
using MemoryTable = std::map<MemoryRow, MemoryRow>;  // key values -> all values

inline Text text_of(const Value& value) {
  return value.kind == ValueKind::null ? Text("\x01") : Text(value.text);
}

inline MemoryRow key_of(const TableSchema& table, Row row) {
  MemoryRow key;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (table.columns[i].in_key) key.push_back(text_of(row[i]));
  }
  return key;
}

class MemoryTarget : public Target {
 public:
  std::map<std::string, MemoryTable> tables;
  std::map<std::string, std::vector<MemoryRow>> heaps;  // tables without a key
  std::vector<std::string> unsound;                     // what no sound plan does
  int unique_column = -1;  // of every keyed table: values must differ, checked after each row
  size_t writes = 0;
  size_t in_order_writes = 0;

  Status write(const BatchPlan& plan, bool in_order) override {
    ++writes;
    in_order_writes += in_order ? 1 : 0;
    const auto saved = std::pair(tables, heaps);
    for (const TableSchema* table : plan.truncate) {
      tables[table->name].clear();
      heaps[table->name].clear();
    }
    using Kind = PlannedRow::Kind;
    for (const auto phase : {Kind::move, Kind::remove, Kind::upsert}) {
      for (const TablePlan& table : plan.tables) {
        for (const PlannedRow& row : table.rows) {
          const bool last = row.kind != Kind::move && row.kind != Kind::remove;
          if (row.kind != phase && !(phase == Kind::upsert && last)) continue;
          write_row(*table.table, row);
          if (unique_column < 0 || is_unique(table.table->name)) continue;
          std::tie(tables, heaps) = saved;
          return fail(in_order ? ErrorCode::bad_data : ErrorCode::conflict, "duplicate");
        }
      }
    }
    return {};
  }

  Status lock_applier() override { return {}; }
  Result<std::optional<Applied>> applied() override { return std::optional<Applied>(); }
  Status setup(std::span<const TableSchemaPtr>, std::string*) override { return {}; }
  Status set_origin(const Applied&) override { return {}; }
  Result<std::vector<Error>> check(std::span<const TableSchemaPtr>) override {
    return std::vector<Error>();
  }
  Status teardown(std::string*) override { return {}; }
  Status begin(const Applied&, const Applied&) override { return {}; }
  Status commit() override { return {}; }
  void rollback() override {}
  void interrupt() override {}

 private:
  bool is_unique(const std::string& table) {
    std::set<Text> seen;
    const auto& rows = tables[table];
    return std::all_of(rows.begin(), rows.end(), [&](const auto& row) {
      return seen.insert(row.second[static_cast<size_t>(unique_column)]).second;
    });
  }

  void write_row(const TableSchema& table, const PlannedRow& planned) {
    auto& rows = tables[table.name];
    auto& heap = heaps[table.name];
    switch (planned.kind) {
      case PlannedRow::Kind::remove:
        rows.erase(key_of(table, planned.row));
        break;
      case PlannedRow::Kind::upsert:
        rows[key_of(table, planned.row)] = full(planned.row, nullptr);
        break;
      case PlannedRow::Kind::partial: {
        const auto old = rows.find(key_of(table, planned.row));
        if (old == rows.end()) {
          unsound.push_back("partial update of a missing row");
        } else {
          old->second = full(planned.row, &old->second);
        }
        break;
      }
      case PlannedRow::Kind::move: {
        const auto old = rows.find(key_of(table, planned.before));
        const auto key = key_of(table, planned.row);
        if (rows.count(key) != 0) unsound.push_back("move to a key that is taken");
        if (old == rows.end()) {
          unsound.push_back("move of a missing row");
        } else {
          const MemoryRow moved = full(planned.row, &old->second);
          rows.erase(old);
          rows[key] = moved;
        }
        break;
      }
      case PlannedRow::Kind::append:
        heap.push_back(full(planned.row, nullptr));
        break;
      case PlannedRow::Kind::replace_whole:
      case PlannedRow::Kind::remove_whole: {
        const bool replace = planned.kind == PlannedRow::Kind::replace_whole;
        const auto it = std::find(heap.begin(), heap.end(),
                                  full(replace ? planned.before : planned.row, nullptr));
        if (it == heap.end()) {
          unsound.push_back("no such whole row");
        } else if (replace) {
          *it = full(planned.row, nullptr);
        } else {
          heap.erase(it);
        }
        break;
      }
    }
  }

  MemoryRow full(Row row, const MemoryRow* old) {
    MemoryRow out;
    for (size_t i = 0; i < row.size(); ++i) {
      if (row[i].kind != ValueKind::unchanged) {
        out.push_back(text_of(row[i]));
      } else if (old != nullptr) {
        out.push_back((*old)[i]);
      } else {
        unsound.push_back("unchanged value in a full row");
        out.emplace_back();
      }
    }
    return out;
  }
};

}  // namespace millrace::sink::test
