#include "connectors/postgres/binding.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "connectors/postgres/schema_change.h"

namespace millrace::postgres {
namespace {

void find(Binding& binding, std::string message, std::string hint = {}) {
  binding.findings.push_back(
      Error(ErrorCode::bad_data, std::move(message), std::move(hint)).at(binding.display()));
}

// An aggregate, a window or a set-returning function would change the number of rows. None may
// stand in WHERE, so that is where an expression is tried.
std::string probe_sql(const Binding& binding, const std::string& sql, int without) {
  return "SELECT 1 FROM " + null_row_sql(binding, without) + " WHERE (\n" + sql + "\n) IS NULL";
}

Result<std::vector<bool>> read_needs(Connection& connection, Binding& binding,
                                     const std::string& sql, const std::string& what) {
  std::vector<bool> needs(binding.source.columns.size());
  const Reply whole = connection.describe(probe_sql(binding, sql, -1));
  if (!whole.ok()) {
    if (whole.failure() == Failure::retryable) {
      return fail(to_error(connection, whole, "parsing an expression"));
    }
    find(binding, fmt::format("{} does not parse in the target: {}", what, whole.message()),
         "its names are the source's columns; functions outside pg_catalog need their schema");
    return needs;
  }
  for (size_t i = 0; i < needs.size(); ++i) {
    const Reply reply = connection.describe(probe_sql(binding, sql, static_cast<int>(i)));
    if (!reply.ok() && reply.failure() == Failure::retryable) {
      return fail(to_error(connection, reply, "parsing an expression"));
    }
    needs[i] = !reply.ok();
    if (needs[i]) binding.used_by_sql[i] = true;
  }
  return needs;
}

Status bind_sql(Connection& connection, Binding& binding) {
  const auto& mapping = binding.mapping;
  if (mapping.expressions.empty() && mapping.where.empty()) return {};
  for (const auto& expression : mapping.expressions) {
    TRY_ASSIGN(auto needs, read_needs(connection, binding, expression.sql,
                                      "the expression for column " + expression.target_column));
    binding.expression_needs.push_back(std::move(needs));
  }
  if (mapping.where.empty()) return {};
  const size_t before = binding.findings.size();
  TRY_ASSIGN(binding.where_needs, read_needs(connection, binding, mapping.where, "where"));
  if (binding.findings.size() > before) return {};
  const Reply reply = connection.describe("SELECT 1 FROM " + null_row_sql(binding) + " WHERE (\n" +
                                          mapping.where + "\n)");
  if (!reply.ok()) find(binding, fmt::format("where is no condition: {}", reply.message()));
  return {};
}

Output make_output(const Binding& binding, const std::string& name) {
  Output output;
  output.column = name;
  if (const CatalogColumn* column = binding.target.find(name)) {
    output.base_oid = column->base_oid;
    output.base_type = column->base_type;
    output.full_type = column->full_type;
    output.identity_always = column->identity == 'a';
  }
  return output;
}

// The expression that carries a key column which does not travel under its own name: the one that
// looks at key columns only, at this one among them; a plain rename before anything else.
int key_expression(const Binding& binding, size_t key) {
  int found = -1;
  for (size_t e = 0; e < binding.expression_needs.size(); ++e) {
    const auto& needs = binding.expression_needs[e];
    bool only_keys = needs[key];
    for (size_t i = 0; i < needs.size(); ++i) {
      only_keys = only_keys && (!needs[i] || binding.source.columns[i].in_key);
    }
    if (!only_keys) continue;
    const std::string& sql = binding.mapping.expressions[e].sql;
    const std::string& name = binding.source.columns[key].name;
    if (sql == name || sql == quote_identifier(name)) return static_cast<int>(e);
    if (found < 0) found = static_cast<int>(e);
  }
  return found;
}

void bind_outputs(Binding& binding) {
  const auto& mapping = binding.mapping;
  std::set<std::string> derived;
  for (const auto& expression : mapping.expressions) derived.insert(expression.target_column);
  const std::set<std::string> dropped(mapping.dropped.begin(), mapping.dropped.end());
  std::set<std::string> keys;
  for (size_t i = 0; i < binding.source.columns.size(); ++i) {
    const Column& column = binding.source.columns[i];
    const bool travels = dropped.count(column.name) == 0 && derived.count(column.name) == 0 &&
                         column.name != kVersionColumn;
    if (travels) {
      const CatalogColumn* target = binding.target.find(column.name);
      if (binding.exists && target == nullptr) {
        binding.missing.push_back({i});
      } else if (target == nullptr || !target->generated) {
        Output output = make_output(binding, column.name);
        output.source = static_cast<int>(i);
        output.key = column.in_key;
        binding.outputs.push_back(std::move(output));
        if (column.in_key) keys.insert(column.name);
        continue;
      }
    }
    if (!column.in_key || binding.expression_needs.size() != mapping.expressions.size()) continue;
    const int expression = key_expression(binding, i);
    if (expression < 0) {
      find(binding, "the key column " + quote_if_needed(column.name) + " does not reach the target",
           "map it: an expression over the key's columns alone");
    } else {
      keys.insert(mapping.expressions[static_cast<size_t>(expression)].target_column);
      binding.key_expressions = true;
    }
  }
  for (size_t e = 0; e < mapping.expressions.size(); ++e) {
    const std::string& name = mapping.expressions[e].target_column;
    const CatalogColumn* target = binding.target.find(name);
    if (binding.exists && target == nullptr) {
      find(binding, "the target has no column " + quote_if_needed(name) + " for its expression",
           "ALTER TABLE " + binding.table_sql() + " ADD COLUMN " + quote_identifier(name) + " …");
      continue;
    }
    if (target != nullptr && target->generated) {
      find(binding,
           "the target's column " + quote_if_needed(name) + " is generated and takes no value",
           "remove its expression from the config");
      continue;
    }
    Output output = make_output(binding, name);
    output.expression = static_cast<int>(e);
    output.key = keys.count(name) != 0;
    binding.outputs.push_back(std::move(output));
  }
}

void bind_key(Binding& binding) {
  std::set<std::string> names;
  std::string list;
  for (const Output& output : binding.outputs) {
    if (!output.key) continue;
    names.insert(output.column);
    list += (list.empty() ? "" : ", ") + quote_identifier(output.column);
  }
  if (!binding.keyed || !binding.exists || names.empty()) return;
  for (const UniqueKey& key : binding.target.unique_keys) {
    if (std::set<std::string>(key.columns.begin(), key.columns.end()) != names) continue;
    for (Output& output : binding.outputs) {
      const auto at = std::find(key.columns.begin(), key.columns.end(), output.column);
      if (at != key.columns.end()) {
        output.equals = key.equals[static_cast<size_t>(at - key.columns.begin())];
      }
    }
    return;
  }
  find(binding, "the target has no unique index on exactly (" + list + ")",
       "CREATE UNIQUE INDEX CONCURRENTLY ON " + binding.table_sql() + " (" + list + ")");
}

void check_columns(Binding& binding) {
  if (!binding.exists) {
    if (!binding.mapping.create) {
      find(binding, "the target has no such table",
           "create it, or set create: true for it in the config and run millrace setup");
    }
    return;
  }
  if (binding.target.kind != 'r' && binding.target.kind != 'p') {
    find(binding, "the target is no table but a view or a foreign table");
  }
  std::set<std::string> written;
  for (const Output& output : binding.outputs) written.insert(output.column);
  for (const CatalogColumn& column : binding.target.columns) {
    if (column.not_null && !column.has_default && column.identity == 0 && !column.generated &&
        written.count(column.name) == 0) {
      find(binding,
           "the target's column " + quote_if_needed(column.name) +
               " is NOT NULL and nothing fills it",
           "ALTER TABLE " + binding.table_sql() + " ALTER COLUMN " + quote_identifier(column.name) +
               " DROP NOT NULL; or give it a default or an expression");
    }
  }
}

}  // namespace

std::string Binding::display() const {
  return "table " + quote_if_needed(mapping.target_schema) + "." +
         quote_if_needed(mapping.target_table);
}

const sink::TableMapping* find_mapping(const std::vector<sink::TableMapping>& tables,
                                       const TableSchema& source) {
  const auto at = std::find_if(tables.begin(), tables.end(), [&](const sink::TableMapping& m) {
    return m.source_schema == source.schema && m.source_table == source.name;
  });
  return at == tables.end() ? nullptr : &*at;
}

std::string null_row_sql(const Binding& binding, int without) {
  std::string columns;
  for (size_t i = 0; i < binding.source.columns.size(); ++i) {
    if (static_cast<int>(i) == without) continue;
    columns += (columns.empty() ? "" : ", ") + std::string("NULL::") + binding.types[i].type +
               " AS " + quote_identifier(binding.source.columns[i].name);
  }
  return "(SELECT " + columns + ") AS _millrace_row";
}

Result<std::vector<Binding>> bind_tables(Connection& connection, std::span<const ToBind> tables) {
  std::vector<TableName> names;
  std::vector<const TableSchema*> sources;
  for (const auto& [source, mapping] : tables) {
    names.push_back({mapping->target_schema, mapping->target_table});
    sources.push_back(source);
  }
  TRY_ASSIGN(auto found, read_tables(connection, names));
  TRY_ASSIGN(auto types, read_source_types(connection, sources));
  std::vector<Binding> bindings(tables.size());
  for (size_t i = 0; i < tables.size(); ++i) {
    Binding& binding = bindings[i];
    binding.source = *tables[i].source;
    binding.mapping = *tables[i].mapping;
    binding.keyed = binding.source.has_key();
    binding.used_by_sql.resize(binding.source.columns.size());
    binding.exists = found[i].has_value();
    if (found[i]) binding.target = std::move(*found[i]);
    binding.types = std::move(types[i]);
    TRY(bind_sql(connection, binding));
    bind_outputs(binding);
    find_missing_columns(binding);
    bind_key(binding);
    check_columns(binding);
  }
  return bindings;
}

}  // namespace millrace::postgres
