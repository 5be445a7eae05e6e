#include "connectors/postgres/statements.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "connectors/postgres/copy_writer.h"
#include "connectors/postgres/history_statements.h"
#include "connectors/postgres/rows_sql.h"
#include "relay/base/mutation.h"

namespace millrace::postgres {
namespace {

bool any_present(const Binding& binding, const std::vector<bool>& needs, const Present& present,
                 bool count_keys) {
  for (size_t i = 0; i < needs.size(); ++i) {
    if (needs[i] && present[i] && (count_keys || !binding.source.columns[i].in_key)) return true;
  }
  return false;
}

Present keys_present(const Binding& binding) {
  Present present;
  for (const Column& column : binding.source.columns) present.push_back(column.in_key);
  return present;
}

bool has_where(const Binding& binding) { return !binding.mapping.where.empty(); }

Statement missing_statement(const Binding& binding, const RowsShape& like, bool move) {
  Statement statement;
  RowsShape shape = like;
  shape.version = false;
  shape.ordinal = true;
  shape.lean = true;
  const std::string from = rows_sql(binding, shape, statement);
  const std::string none = "NOT EXISTS (SELECT 1 FROM " + binding.table_sql() + " AS t WHERE ";
  statement.sql = "SELECT e.n FROM " + from + " WHERE " + none + key_matches(binding, 'd') + ")";
  if (move) statement.sql += " AND " + none + key_matches(binding, 'o') + ")";
  if (shape.filter) statement.sql += " AND e.w";
  statement.sql += " ORDER BY e.n LIMIT 1";
  return statement;
}

Error mixed_error(const Binding& binding, const std::string& what) {
  return Error(ErrorCode::bad_data,
               what +
                   " looks at a large value that the update did not touch, beside values that it "
                   "did: "
                   "the stream does not carry the untouched one",
               fmt::format("on the source: ALTER TABLE {}.{} REPLICA IDENTITY FULL",
                           quote_if_needed(binding.source.schema),
                           quote_if_needed(binding.source.name)))
      .at(binding.display());
}

// For an update that lacks values: can SQL that needs `needs` be evaluated (yes), must its result
// stay as it is (no), or is neither true?
Result<bool> evaluable(const Binding& binding, const std::vector<bool>& needs,
                       const Present& present, bool key_changes, const std::string& what) {
  if (!any_absent(needs, present)) return true;
  if (any_present(binding, needs, present, key_changes)) return fail(mixed_error(binding, what));
  return false;
}

Result<RowStatements> update_statements(const Binding& binding, const Present& present, bool move,
                                        const Watched* watched) {
  RowsShape shape{present};
  shape.old_keys = move;
  bool filter_stays = false;
  if (has_where(binding)) {
    TRY_ASSIGN(shape.filter, evaluable(binding, binding.where_needs, present, move, "where"));
    filter_stays = !shape.filter;
  }
  std::vector<std::string> sets;
  for (size_t o = 0; o < binding.outputs.size(); ++o) {
    const Output& output = binding.outputs[o];
    if (output.key && !move) continue;
    bool known = false;
    if (output.source >= 0) {
      known = present[static_cast<size_t>(output.source)];
    } else {
      TRY_ASSIGN(known, evaluable(binding,
                                  binding.expression_needs[static_cast<size_t>(output.expression)],
                                  present, move, "the expression for column " + output.column));
    }
    if (known && (output.key || !output.identity_always)) {
      sets.push_back(fmt::format("{} = e.d{}", quote_identifier(output.column), o));
    }
  }
  sets.push_back(fmt::format("{} = e.v", kVersionColumn));
  RowStatements out;
  if (shape.filter && !move) out.filter = filter_statement(binding, present, watched);
  const std::string from = rows_sql(binding, shape, out.write);
  out.write.sql = "UPDATE " + binding.table_sql() + " AS t SET " + join(sets, ", ") + " FROM " +
                  from + " WHERE " + key_matches(binding, move ? 'o' : 'd') + " AND " +
                  guard("e.v") + (shape.filter ? " AND e.w" : "");
  const bool full = std::find(present.begin(), present.end(), false) == present.end();
  // A row that an untouched filter kept out is not missing; a full row is upserted anyway.
  if (!filter_stays && !full) out.missing = missing_statement(binding, shape, move);
  // It may also be one that was not copied yet.
  if (watched != nullptr && !full) {
    out.incomplete = incomplete_statement(binding, *watched, shape, move);
  }
  return out;
}

// The source's columns by name, from scalar parameters.
std::string scalar_row(const Binding& binding, const std::vector<bool>& needs, Param::From from,
                       Statement& statement) {
  std::vector<std::string> columns;
  for (uint32_t i = 0; i < needs.size(); ++i) {
    if (!needs[i]) continue;
    statement.params.push_back({from, i});
    columns.push_back(fmt::format("${}::text::{} AS {}", statement.params.size(),
                                  binding.types[i].type,
                                  quote_identifier(binding.source.columns[i].name)));
  }
  return "(SELECT " + join(columns, ", ") + ") AS _millrace_row";
}

// A scalar parameter in the text form of output `o`, as the column itself would write it.
std::string whole_value(const Binding& binding, const Output& output, Param::From from,
                        Statement& statement) {
  if (output.source >= 0) {
    statement.params.push_back({from, static_cast<uint32_t>(output.source)});
    return fmt::format("CAST(${}::text AS {})", statement.params.size(), output.full_type);
  }
  const auto expression = static_cast<size_t>(output.expression);
  return fmt::format(
      "CAST((SELECT (\n{}\n) FROM {}) AS {})", binding.mapping.expressions[expression].sql,
      scalar_row(binding, binding.expression_needs[expression], from, statement), output.full_type);
}

// One row that equals the old one in every column that Millrace writes. json, xml or point have no
// equality, so text forms are compared; the parameter takes the column's type first.
std::string one_whole_row(const Binding& binding, Param::From from, Statement& statement) {
  std::vector<std::string> parts;
  for (const Output& output : binding.outputs) {
    parts.push_back(fmt::format("t.{}::text IS NOT DISTINCT FROM ({})::text",
                                quote_identifier(output.column),
                                whole_value(binding, output, from, statement)));
  }
  return "(SELECT t.tableoid AS part, t.ctid AS place FROM " + binding.table_sql() +
         " AS t WHERE " + join(parts, " AND ") + " LIMIT 1) AS m";
}

}  // namespace

Present all_present(const Binding& binding) { return Present(binding.source.columns.size(), true); }

std::string guard(const char* version) {
  if (mutated("no_guard")) return "true";
  return fmt::format("(t.{} IS NULL OR t.{} < {})", kVersionColumn, kVersionColumn, version);
}

std::string key_matches(const Binding& binding, char prefix) {
  std::vector<std::string> parts;
  for (size_t o = 0; o < binding.outputs.size(); ++o) {
    const Output& output = binding.outputs[o];
    if (!output.key) continue;
    parts.push_back(
        fmt::format("t.{} {} e.{}{}", quote_identifier(output.column), output.equals, prefix, o));
  }
  return join(parts, " AND ");
}

Statement filter_statement(const Binding& binding, const Present& present, const Watched* watched) {
  Statement statement;
  RowsShape shape{present};
  shape.filter = true;
  shape.lean = true;
  const std::string from = rows_sql(binding, shape, statement);
  if (watched != nullptr) {
    statement.sql = tombstones_sql(binding, *watched, from, "e.w IS NOT TRUE");
  }
  statement.sql += "DELETE FROM " + binding.table_sql() + " AS t USING " + from + " WHERE " +
                   key_matches(binding, 'd') + " AND e.w IS NOT TRUE AND " + guard("e.v");
  return statement;
}

std::string insert_sql(const Binding& binding, const std::string& from, const std::string& more) {
  std::vector<std::string> columns, values, keys, conditions;
  bool overriding = false;
  for (size_t o = 0; o < binding.outputs.size(); ++o) {
    const Output& output = binding.outputs[o];
    columns.push_back(quote_identifier(output.column));
    values.push_back(fmt::format("e.d{}", o));
    overriding = overriding || output.identity_always;
    if (output.key) keys.push_back(columns.back());
  }
  columns.emplace_back(kVersionColumn);
  values.emplace_back("e.v");
  if (has_where(binding)) conditions.emplace_back("e.w");
  if (!more.empty()) conditions.push_back(more);
  return "INSERT INTO " + binding.table_sql() + " AS t (" + join(columns, ", ") + ")" +
         (overriding ? " OVERRIDING SYSTEM VALUE" : "") + " SELECT " + join(values, ", ") +
         " FROM " + from + (conditions.empty() ? "" : " WHERE " + join(conditions, " AND ")) +
         " ON CONFLICT (" + join(keys, ", ") + ") ";
}

std::string replace_sql(const Binding& binding) {
  std::vector<std::string> sets;
  for (const Output& output : binding.outputs) {
    if (output.key || output.identity_always) continue;
    sets.push_back(fmt::format("{0} = excluded.{0}", quote_identifier(output.column)));
  }
  sets.push_back(fmt::format("{0} = excluded.{0}", kVersionColumn));
  return "DO UPDATE SET " + join(sets, ", ") + " WHERE " + guard("excluded._millrace");
}

RowStatements upsert_statements(const Binding& binding, const Watched* watched) {
  RowStatements out;
  RowsShape shape{all_present(binding)};
  shape.filter = has_where(binding);
  if (shape.filter) out.filter = filter_statement(binding, shape.present, watched);
  const std::string from = rows_sql(binding, shape, out.write);
  out.write.sql = insert_sql(binding, from, "") + replace_sql(binding);
  return out;
}

RowStatements remove_statements(const Binding& binding, const Watched* watched) {
  RowStatements out;
  const std::string from = rows_sql(binding, RowsShape{keys_present(binding)}, out.write);
  if (watched != nullptr) out.write.sql = tombstones_sql(binding, *watched, from, "");
  out.write.sql += "DELETE FROM " + binding.table_sql() + " AS t USING " + from + " WHERE " +
                   key_matches(binding, 'd') + " AND " + guard("e.v");
  return out;
}

RowStatements append_statements(const Binding& binding) {
  RowStatements out;
  RowsShape shape{all_present(binding)};
  shape.version = false;
  shape.filter = has_where(binding);
  std::vector<std::string> columns, values;
  bool overriding = false;
  for (size_t o = 0; o < binding.outputs.size(); ++o) {
    columns.push_back(quote_identifier(binding.outputs[o].column));
    values.push_back(fmt::format("e.d{}", o));
    overriding = overriding || binding.outputs[o].identity_always;
  }
  const std::string from = rows_sql(binding, shape, out.write);
  out.write.sql = "INSERT INTO " + binding.table_sql() + " (" + join(columns, ", ") + ")" +
                  (overriding ? " OVERRIDING SYSTEM VALUE" : "") + " SELECT " + join(values, ", ") +
                  " FROM " + from + (shape.filter ? " WHERE e.w" : "");
  return out;
}

std::string copy_fresh_sql(const Binding& binding) {
  const bool sql = std::any_of(binding.outputs.begin(), binding.outputs.end(),
                               [](const Output& output) { return output.source < 0; });
  if (sql || has_where(binding)) return {};
  std::vector<std::string> columns;
  for (const Output& output : binding.outputs) columns.push_back(quote_identifier(output.column));
  if (binding.keyed) columns.emplace_back(kVersionColumn);
  return fmt::format("SAVEPOINT {0}; {1}; RELEASE SAVEPOINT {0}", kCopySavepoint,
                     copy_sql(binding.table_sql(), columns));
}

Result<RowStatements> partial_statements(const Binding& binding, const Present& present,
                                         const Watched* watched) {
  return update_statements(binding, present, false, watched);
}

Result<RowStatements> move_statements(const Binding& binding, const Present& present,
                                      const Watched* watched) {
  return update_statements(binding, present, true, watched);
}

Statement remove_whole_statement(const Binding& binding) {
  Statement statement;
  const std::string row = one_whole_row(binding, Param::From::row, statement);
  statement.sql = "DELETE FROM " + binding.table_sql() + " AS t USING " + row +
                  " WHERE t.tableoid = m.part AND t.ctid = m.place";
  return statement;
}

Statement passes_statement(const Binding& binding) {
  Statement statement;
  const std::string row = scalar_row(binding, binding.where_needs, Param::From::row, statement);
  statement.sql = "SELECT 1 FROM " + row + " WHERE (\n" + binding.mapping.where + "\n)";
  return statement;
}

Statement replace_whole_statement(const Binding& binding) {
  Statement statement;
  const std::string row = one_whole_row(binding, Param::From::before, statement);
  std::vector<std::string> sets;
  for (const Output& output : binding.outputs) {
    if (output.identity_always) continue;
    // The base type: the assignment to the column raises where a cast would cut.
    Output plain = output;
    plain.full_type = output.base_type;
    sets.push_back(quote_identifier(output.column) + " = " +
                   whole_value(binding, plain, Param::From::row, statement));
  }
  statement.sql = "UPDATE " + binding.table_sql() + " AS t SET " + join(sets, ", ") + " FROM " +
                  row + " WHERE t.tableoid = m.part AND t.ctid = m.place";
  return statement;
}

}  // namespace millrace::postgres
