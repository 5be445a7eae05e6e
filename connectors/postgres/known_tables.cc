#include "connectors/postgres/known_tables.h"

#include <unordered_set>
#include <utility>

namespace millrace::postgres {
namespace {

constexpr Millis kBelieved{60'000};

std::string source_name(const std::string& schema, const std::string& table) {
  return quote_table(schema, table);
}

}  // namespace

KnownTables::KnownTables(Connection& connection, const std::vector<sink::TableMapping>& tables)
    : connection_(connection) {
  for (const sink::TableMapping& mapping : tables) {
    mappings_.emplace(source_name(mapping.source_schema, mapping.source_table), &mapping);
  }
}

const sink::TableMapping* KnownTables::mapping_of(const TableSchema& source) const {
  const auto at = mappings_.find(source_name(source.schema, source.name));
  return at == mappings_.end() ? nullptr : at->second;
}

bool KnownTables::is_believed(const Binding& binding) const {
  const bool fits = binding.exists && binding.findings.empty() &&
                    (!binding.keyed || binding.target.find(kVersionColumn) != nullptr);
  return fits && std::chrono::steady_clock::now() - binding.read_at < kBelieved;
}

Status KnownTables::read(std::span<const TableSchema* const> shapes, uint64_t transaction) {
  std::vector<ToBind> unknown;
  std::unordered_set<uint64_t> asked;
  for (const TableSchema* shape : shapes) {
    const auto known = known_.find(shape->fingerprint);
    if (known != known_.end() && is_believed(known->second)) continue;
    const sink::TableMapping* mapping = mapping_of(*shape);
    if (mapping == nullptr || !asked.insert(shape->fingerprint).second) continue;
    unknown.push_back({shape, mapping});
  }
  if (unknown.empty()) return {};
  const auto now = std::chrono::steady_clock::now();
  TRY_ASSIGN(auto bindings, bind_tables(connection_, unknown));
  for (Binding& binding : bindings) {
    binding.read_in = transaction;
    binding.read_at = now;
    put(std::move(binding));
  }
  return {};
}

Status KnownTables::read(std::span<const TableSchemaPtr> shapes) {
  std::vector<const TableSchema*> pointers;
  for (const TableSchemaPtr& shape : shapes) pointers.push_back(shape.get());
  return read(pointers);
}

const Binding& KnownTables::at(const TableSchema& shape) const {
  return known_.at(shape.fingerprint);
}

Binding KnownTables::take(const TableSchema& shape) {
  return std::move(known_.extract(shape.fingerprint).mapped());
}

void KnownTables::put(Binding binding) {
  const uint64_t fingerprint = binding.source.fingerprint;
  known_.insert_or_assign(fingerprint, std::move(binding));
}

}  // namespace millrace::postgres
