#include "relay/sink/planner.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

namespace millrace::sink {
namespace {

bool has_unchanged(Row row) {
  return std::any_of(row.begin(), row.end(),
                     [](const Value& value) { return value.kind == ValueKind::unchanged; });
}

bool same_statement(const Change& a, const Change& b) {
  return b.op == Op::truncate && a.position.commit_lsn == b.position.commit_lsn &&
         a.position.timeline == b.position.timeline && a.truncate_first == b.truncate_first;
}

}  // namespace

Result<std::span<const BatchPlan>> Planner::plan(std::span<const Change> changes) {
  plans_.clear();
  tables_.clear();
  for (const Entry& entry : entries_) slots_[entry.slot] = 0;
  entries_.clear();
  arena_.release();
  current_ = BatchPlan{};
  next_change_ = 0;
  while (next_change_ < changes.size()) {
    const Change& change = changes[next_change_];
    if (change.op == Op::truncate) {
      next_change_ += add_truncate(changes.subspan(next_change_));
    } else {
      TRY(add(change));
      ++next_change_;
    }
  }
  flush();
  return std::span<const BatchPlan>(plans_);
}

Status Planner::add(const Change& change) {
  const uint32_t table = table_of(change.table);
  if (tables_[table].key_columns.empty()) return add_whole(tables_[table], change);
  switch (change.op) {
    case Op::insert: {
      const size_t known = entries_.size();
      Entry& entry = find_or_add(table, change.after);
      if (entries_.size() > known) entry.fresh = true;
      entry.present = true;
      entry.row = change.after;
      entry.origin = {};
      entry.position = change.position;
      return {};
    }
    case Op::update: {
      const Row after = complete(table, change);
      if (!key_known(table, after)) break;
      if (!change.before.empty() && !same_key(table, change.before, after)) {
        add_key_change(table, change, after);
      } else {
        add_update(table, change, after);
      }
      return {};
    }
    case Op::remove: {
      if (change.before.empty()) break;
      Entry& entry = find_or_add(table, change.before);
      entry.present = false;
      entry.row = change.before;
      entry.origin = {};
      entry.position = change.position;
      return {};
    }
    case Op::truncate:
      break;
  }
  return fail(Error(ErrorCode::bad_data, std::string(to_string(change.op)) + " without a key")
                  .at("table " + display_name(*change.table))
                  .at("position " + to_string(change.position)));
}

Status Planner::add_whole(Table& table, const Change& change) {
  PlannedRow row;
  row.position = change.position;
  if (change.op == Op::insert) {
    row.kind = PlannedRow::Kind::append;
    row.row = change.after;
  } else if (change.before.empty()) {
    return fail(Error(ErrorCode::bad_data,
                      std::string(to_string(change.op)) +
                          " of a table without a key, and the change does not carry the old row",
                      "on the source: ALTER TABLE " + display_name(*change.table) +
                          " REPLICA IDENTITY FULL, or add a primary key")
                    .at("table " + display_name(*change.table))
                    .at("position " + to_string(change.position)));
  } else if (change.op == Op::remove) {
    row.kind = PlannedRow::Kind::remove_whole;
    row.row = change.before;
  } else {
    row.kind = PlannedRow::Kind::replace_whole;
    row.row = has_unchanged(change.after) ? merge(change.after, change.before) : change.after;
    row.before = change.before;
  }
  table.whole_rows.push_back(row);
  return {};
}

bool Planner::key_known(uint32_t table, Row row) const {
  const auto& columns = tables_[table].key_columns;
  return std::all_of(columns.begin(), columns.end(),
                     [&](uint32_t column) { return row[column].kind != ValueKind::unchanged; });
}

// The new row with what the old one says: every value with FULL, else the key's. (A TOASTed key
// value that stays comes as `unchanged`, and the old key beside it.)
Row Planner::complete(uint32_t table, const Change& change) {
  if (change.before.empty() || !has_unchanged(change.after)) return change.after;
  if (change.table->identity == ReplicaIdentity::full) return merge(change.after, change.before);
  if (key_known(table, change.after)) return change.after;
  auto* values = allocate_row(change.after.size());
  std::copy(change.after.begin(), change.after.end(), values);
  for (const uint32_t column : tables_[table].key_columns) {
    if (values[column].kind == ValueKind::unchanged) values[column] = change.before[column];
  }
  return {values, change.after.size()};
}

void Planner::add_update(uint32_t table, const Change& change, Row after) {
  Entry* entry = find(table, after);
  if (entry != nullptr && !entry->present && has_unchanged(after)) {
    // No source does this. The next plan's partial update says that the row is missing.
    flush();
    const uint32_t again = table_of(change.table);
    Entry& fresh = find_or_add(again, after);
    fresh.present = true;
    fresh.row = fresh.origin = after;
    fresh.position = change.position;
    return;
  }
  if (entry == nullptr) {
    entry = &find_or_add(table, after);
    entry->origin = after;
  } else if (entry->present && has_unchanged(after)) {
    after = merge(after, entry->row);
  }
  entry->present = true;
  entry->row = after;
  entry->position = change.position;
}

void Planner::add_key_change(uint32_t table, const Change& change, const Row completed) {
  Row after = completed;
  Row origin = change.before;
  if (const Entry* old = find(table, change.before)) {
    origin = old->present ? old->origin : Row{};
    if (old->present && has_unchanged(after)) after = merge(after, old->row);
  }
  if (const Entry* target = find(table, after); target != nullptr && !origin.empty()) {
    // Back to the key that it left in this plan: its old place in the target is still its own.
    // Otherwise something stood here: with all values known it is an upsert beside a remove.
    if (!same_key(table, origin, after)) origin = {};
  }
  if (origin.empty() && has_unchanged(after)) {
    flush();
    table = table_of(change.table);
    after = completed;
    origin = change.before;
  }
  {
    Entry& old = find_or_add(table, change.before);
    old.present = false;
    old.row = change.before;
    old.origin = {};
    old.position = change.position;
  }
  Entry& entry = find_or_add(table, after);
  entry.present = true;
  entry.row = after;
  entry.origin = origin;
  entry.position = change.position;
}

size_t Planner::add_truncate(std::span<const Change> changes) {
  const Change& first = changes.front();
  size_t count = 0;
  while (count < changes.size() && same_statement(first, changes[count])) ++count;
  const auto statement = changes.first(count);
  for (Table& table : tables_) {
    table.dropped = std::any_of(statement.begin(), statement.end(), [&](const Change& change) {
      return change.table->schema == table.schema->schema &&
             change.table->name == table.schema->name;
    });
  }
  flush();
  for (const Change& change : statement) current_.truncate.push_back(change.table);
  current_.restart_identity = first.restart_identity;
  return count;
}

uint32_t Planner::table_of(const TableSchema* schema) {
  if (last_table_ < tables_.size() && tables_[last_table_].schema == schema) return last_table_;
  for (uint32_t i = 0; i < tables_.size(); ++i) {
    const TableSchema& known = *tables_[i].schema;
    if (&known == schema || known.fingerprint == schema->fingerprint) return last_table_ = i;
    if (known.name == schema->name && known.schema == schema->schema) {
      flush();
      break;
    }
  }
  Table table;
  table.schema = schema;
  for (uint32_t i = 0; i < schema->columns.size(); ++i) {
    if (schema->columns[i].in_key) table.key_columns.push_back(i);
  }
  tables_.push_back(std::move(table));
  return last_table_ = static_cast<uint32_t>(tables_.size() - 1);
}

uint32_t Planner::hash_key(uint32_t table, Row key) const {
  uint64_t hash = table + 1;
  for (const uint32_t column : tables_[table].key_columns) {
    hash = (hash ^ std::hash<std::string_view>{}(key[column].text)) * 0x9E3779B97F4A7C15ULL;
    hash ^= hash >> 32;
  }
  return static_cast<uint32_t>(hash);
}

bool Planner::same_key(uint32_t table, Row a, Row b) const {
  for (const uint32_t column : tables_[table].key_columns) {
    if (a[column] != b[column]) return false;
  }
  return true;
}

Planner::Entry* Planner::find(uint32_t table, Row key) {
  if (slots_.empty()) return nullptr;
  const uint32_t hash = hash_key(table, key);
  const size_t mask = slots_.size() - 1;
  for (size_t slot = hash & mask; slots_[slot] != 0; slot = (slot + 1) & mask) {
    Entry& entry = entries_[slots_[slot] - 1];
    if (entry.hash == hash && entry.table == table && same_key(table, entry.key, key))
      return &entry;
  }
  return nullptr;
}

Planner::Entry& Planner::find_or_add(uint32_t table, Row key) {
  if ((entries_.size() + 1) * 2 > slots_.size()) grow();
  const uint32_t hash = hash_key(table, key);
  const size_t mask = slots_.size() - 1;
  size_t slot = hash & mask;
  for (; slots_[slot] != 0; slot = (slot + 1) & mask) {
    Entry& entry = entries_[slots_[slot] - 1];
    if (entry.hash == hash && entry.table == table && same_key(table, entry.key, key)) return entry;
  }
  Entry entry;
  entry.table = table;
  entry.slot = static_cast<uint32_t>(slot);
  entry.hash = hash;
  entry.key = key;
  entries_.push_back(entry);
  slots_[slot] = static_cast<uint32_t>(entries_.size());
  return entries_.back();
}

void Planner::grow() {
  slots_.assign(std::max<size_t>(1024, slots_.size() * 2), 0);
  const size_t mask = slots_.size() - 1;
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    size_t slot = entries_[i].hash & mask;
    while (slots_[slot] != 0) slot = (slot + 1) & mask;
    slots_[slot] = i + 1;
    entries_[i].slot = static_cast<uint32_t>(slot);
  }
}

Value* Planner::allocate_row(size_t columns) {
  auto* values = static_cast<Value*>(arena_.allocate(columns * sizeof(Value), alignof(Value)));
  std::uninitialized_default_construct_n(values, columns);
  return values;
}

Row Planner::merge(Row newer, Row older) {
  auto* values = allocate_row(newer.size());
  for (size_t i = 0; i < newer.size(); ++i) {
    values[i] = newer[i].kind == ValueKind::unchanged ? older[i] : newer[i];
  }
  return {values, newer.size()};
}

void Planner::flush() {
  std::vector<TablePlan> rows(tables_.size());
  for (const Entry& entry : entries_) {
    slots_[entry.slot] = 0;
    if (tables_[entry.table].dropped) continue;
    PlannedRow row;
    row.row = entry.row;
    row.position = entry.position;
    if (!entry.present) {
      row.kind = PlannedRow::Kind::remove;
    } else if (!entry.origin.empty() && !same_key(entry.table, entry.origin, entry.row)) {
      row.kind = PlannedRow::Kind::move;
      row.before = entry.origin;
    } else if (has_unchanged(entry.row)) {
      row.kind = PlannedRow::Kind::partial;
    } else {
      row.fresh = entry.fresh;
    }
    rows[entry.table].rows.push_back(row);
  }
  for (size_t i = 0; i < tables_.size(); ++i) {
    Table& table = tables_[i];
    if (table.dropped) continue;
    if (!table.whole_rows.empty()) rows[i].rows = std::move(table.whole_rows);
    if (rows[i].rows.empty()) continue;
    rows[i].table = table.schema;
    current_.tables.push_back(std::move(rows[i]));
  }
  current_.change_count = next_change_ - current_.first_change;
  if (!current_.tables.empty() || !current_.truncate.empty()) plans_.push_back(std::move(current_));
  current_ = BatchPlan{};
  current_.first_change = next_change_;
  entries_.clear();
  tables_.clear();
}

}  // namespace millrace::sink
