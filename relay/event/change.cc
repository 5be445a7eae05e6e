#include "relay/event/change.h"

#include <algorithm>
#include <cstring>
#include <memory>

namespace millrace {
namespace {

template <typename T>
std::span<T> allocate(std::pmr::memory_resource& arena, size_t count) {
  if (count == 0) return {};
  auto* raw = static_cast<T*>(arena.allocate(sizeof(T) * count, alignof(T)));
  std::uninitialized_default_construct_n(raw, count);
  return {raw, count};
}

Row copy_row(std::pmr::memory_resource& arena, Row row) {
  const auto out = allocate<Value>(arena, row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    out[i] = row[i];
    if (row[i].text.empty()) continue;
    const auto bytes = allocate<char>(arena, row[i].text.size());
    std::memcpy(bytes.data(), row[i].text.data(), bytes.size());
    out[i].text = {bytes.data(), bytes.size()};
  }
  return out;
}

size_t size_of(Row row) {
  size_t bytes = row.size() * sizeof(Value);
  for (const Value& value : row) bytes += value.text.size();
  return bytes;
}

}  // namespace

std::string_view to_string(Op op) {
  switch (op) {
    case Op::insert:
      return "insert";
    case Op::update:
      return "update";
    case Op::remove:
      return "delete";
    case Op::truncate:
      return "truncate";
  }
  return "unknown";
}

ChangeBatch::ChangeBatch() = default;

void ChangeBatch::add(const Change& change, const TableSchemaPtr& table) {
  Change owned = change;
  owned.after = copy_row(arena_, change.after);
  owned.before = copy_row(arena_, change.before);
  const auto truncated = allocate<uint64_t>(arena_, change.truncated.size());
  std::copy(change.truncated.begin(), change.truncated.end(), truncated.begin());
  owned.truncated = truncated;
  add_owned(owned, table);
}

void ChangeBatch::add_owned(const Change& change, const TableSchemaPtr& table) {
  // Tables are few and come in runs: looking at the last ones first keeps this short.
  if (std::find(tables_.rbegin(), tables_.rend(), table) == tables_.rend())
    tables_.push_back(table);
  changes_.push_back(change);
  changes_.back().table = table.get();
  bytes_ += sizeof(Change) + size_of(change.after) + size_of(change.before) +
            change.truncated.size_bytes();
}

void ChangeBatch::clear() {
  changes_.clear();
  tables_.clear();
  arena_.release();
  bytes_ = 0;
}

}  // namespace millrace
