#include "connectors/postgres/schema_change.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace millrace::postgres {
namespace {

bool is_written(const Binding& binding, const std::string& column) {
  return std::any_of(binding.outputs.begin(), binding.outputs.end(),
                     [&](const Output& output) { return output.column == column; });
}

// A column of the target that no value comes for any more, of the missing one's type: it may be the
// missing one under its old name.
const CatalogColumn* rename_candidate(const Binding& binding, size_t missing) {
  for (const CatalogColumn& column : binding.target.columns) {
    const bool fills_itself = column.generated || column.has_default || column.identity != 0;
    if (fills_itself || column.name == kVersionColumn || is_written(binding, column.name)) continue;
    if (column.full_type == binding.types[missing].full_type) return &column;
  }
  return nullptr;
}

// A column that is there stands behind it: so it is an old one under a new name.
bool is_old(const Binding& binding, size_t missing) {
  for (const Output& output : binding.outputs) {
    if (output.source > static_cast<int>(missing)) return true;
  }
  return false;
}

bool is_mapped(const Binding& binding, size_t missing) {
  return std::any_of(binding.expression_needs.begin(), binding.expression_needs.end(),
                     [&](const std::vector<bool>& needs) { return needs[missing]; });
}

std::string type_name(const Column& column) {
  return quote_if_needed(column.type_schema) + "." + quote_if_needed(column.type_name);
}

std::string remedy(const Binding& binding, size_t missing) {
  const Column& column = binding.source.columns[missing];
  const std::string name = quote_identifier(column.name);
  const std::string mapped = "; or map or drop the column in the config";
  if (!binding.types[missing].known) {
    return fmt::format("create the type {} in the target, then ALTER TABLE {} ADD COLUMN {} {}{}",
                       type_name(column), binding.table_sql(), name, type_name(column), mapped);
  }
  const std::string add = fmt::format("ALTER TABLE {} ADD COLUMN {} {}", binding.table_sql(), name,
                                      binding.types[missing].full_type);
  const CatalogColumn* old = rename_candidate(binding, missing);
  if (old == nullptr) return add + mapped;
  return fmt::format("if it was renamed: ALTER TABLE {} RENAME COLUMN {} TO {}; if it is new: {}{}",
                     binding.table_sql(), quote_identifier(old->name), name, add, mapped);
}

}  // namespace

void find_missing_columns(Binding& binding) {
  for (MissingColumn& missing : binding.missing) {
    missing.finding = binding.findings.size();
    binding.findings.push_back(
        Error(ErrorCode::bad_data,
              "the target has no column " +
                  quote_if_needed(binding.source.columns[missing.source].name),
              remedy(binding, missing.source))
            .at(binding.display()));
  }
}

std::string add_columns_sql(const Binding& binding) {
  if (binding.missing.empty() || !binding.exists) return {};
  std::string columns;
  for (const MissingColumn& missing : binding.missing) {
    const size_t i = missing.source;
    const Column& column = binding.source.columns[i];
    if (column.in_key || !binding.types[i].known || is_old(binding, i) || is_mapped(binding, i) ||
        rename_candidate(binding, i) != nullptr) {
      return {};
    }
    columns += fmt::format("{}ADD COLUMN IF NOT EXISTS {} {}", columns.empty() ? "" : ", ",
                           quote_identifier(column.name), binding.types[i].full_type);
  }
  return "ALTER TABLE " + binding.table_sql() + " " + columns;
}

std::string mending_sql(const Binding& binding, std::string_view sqlstate, std::string_view column,
                        std::string_view message) {
  const std::string alter = "ALTER TABLE " + binding.table_sql() + " ALTER COLUMN ";
  if (sqlstate == "23502" && !column.empty()) {
    return alter + quote_identifier(std::string(column)) + " DROP NOT NULL";
  }
  if (!sqlstate.starts_with("22")) return {};
  constexpr std::string_view kEnum = "invalid input value for enum ";
  if (message.starts_with(kEnum)) {
    const auto name = message.substr(kEnum.size(), message.find(':') - kEnum.size());
    std::string columns;
    for (const Output& output : binding.outputs) {
      if (output.base_type == name) {
        columns += (columns.empty() ? "" : ", ") + quote_if_needed(output.column);
      }
    }
    return fmt::format("ALTER TYPE {} ADD VALUE '…', as at the source{}", name,
                       columns.empty() ? "" : " (column " + columns + ")");
  }
  std::string sql;
  for (const Output& output : binding.outputs) {
    if (output.source < 0) continue;
    const SourceType& type = binding.types[static_cast<size_t>(output.source)];
    if (!type.known || type.full_type == output.full_type) continue;
    sql += fmt::format("{}column {} is {} at the source and {} here: {}{} TYPE {}",
                       sql.empty() ? "" : "; ", quote_if_needed(output.column), type.full_type,
                       output.full_type, alter, quote_identifier(output.column), type.full_type);
  }
  return sql;
}

}  // namespace millrace::postgres
