// History: a small source that makes valid changes and remembers what its tables hold.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "relay/event/change.h"
#include "tests/unit/sink/memory_target.h"

namespace millrace::sink::test {

inline Value text(std::string_view t) { return Value{ValueKind::text, t}; }
inline Value null() { return Value{}; }
inline Value unchanged() { return Value{ValueKind::unchanged, {}}; }

inline TableSchemaPtr make_table(const std::string& name, std::vector<std::string> columns,
                                 size_t keys,
                                 ReplicaIdentity identity = ReplicaIdentity::default_key) {
  TableSchema schema;
  schema.schema = "public";
  schema.name = name;
  schema.identity = identity;
  for (size_t i = 0; i < columns.size(); ++i) {
    Column column;
    column.name = columns[i];
    column.type_oid = 25;
    column.in_key = i < keys;
    schema.columns.push_back(column);
  }
  return seal_schema(std::move(schema));
}

class History {
 public:
  explicit History(uint64_t first_lsn = 1000) : lsn_(first_lsn) {}

  ChangeBatch batch;

  void insert(const TableSchemaPtr& table, std::vector<Value> after) {
    add(table, Op::insert, std::move(after), {});
  }
  void update(const TableSchemaPtr& table, std::vector<Value> after,
              std::vector<Value> before = {}) {
    add(table, Op::update, std::move(after), std::move(before));
  }
  void remove(const TableSchemaPtr& table, std::vector<Value> before) {
    add(table, Op::remove, {}, std::move(before));
  }
  void truncate(const std::vector<TableSchemaPtr>& tables, bool restart_identity = false) {
    std::vector<uint64_t> fingerprints;
    for (const auto& table : tables) fingerprints.push_back(table->fingerprint);
    const uint32_t first = ordinal_;
    for (const auto& table : tables) {
      Change change = next(Op::truncate);
      change.truncated = fingerprints;
      change.truncate_first = first;
      change.restart_identity = restart_identity;
      batch.add(change, table);
    }
  }
  void commit() { lsn_ += 100, ordinal_ = 0; }

 private:
  Change next(Op op) {
    Change change;
    change.op = op;
    change.position = {1, Lsn{lsn_}, ordinal_++};
    return change;
  }
  void add(const TableSchemaPtr& table, Op op, std::vector<Value> after,
           std::vector<Value> before) {
    Change change = next(op);
    change.after = after;
    change.before = before;
    batch.add(change, table);
  }

  uint64_t lsn_;
  uint32_t ordinal_ = 0;
};

}  // namespace millrace::sink::test
