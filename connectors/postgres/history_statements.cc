#include "connectors/postgres/history_statements.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "relay/base/mutation.h"
#include "relay/event/copy_binary.h"

namespace millrace::postgres {
namespace {

// COLLATE: types may have collations of their own, and the array wants one.
std::string key_of(const Binding& binding) {
  std::vector<std::string> parts;
  for (size_t o = 0; o < binding.outputs.size(); ++o) {
    if (binding.outputs[o].key) parts.push_back(fmt::format("e.d{}::text COLLATE \"C\"", o));
  }
  return "ARRAY[" + join(parts, ", ") + "]";
}

// Tombstone x forbids e: it is no older than e's version.
std::string forbids(const Binding& binding, const Watched& watched) {
  const std::string key = key_of(binding);
  return fmt::format(
      "x.pipeline = {} AND x.source_table = {} AND x.digest = hash_array_extended({}, 0) AND x.key "
      "= {} AND x.version >= e.v",
      watched.pipeline, watched.table, key, key);
}

// Types of which a value has one text, whatever the column's modifier, also behind a cast to text:
// keys are the same where their texts are. Not among them: char(n) and varchar(n), which may lose
// spaces, timestamp(p), which may lose digits, numeric, which may gain some.
constexpr std::array<uint32_t, 9> kOneText = {20, 21, 23, 25, 26, 1082, 17, 2950, 19};

}  // namespace

std::string tombstones_sql(const Binding& binding, const Watched& watched, const std::string& from,
                           const std::string& condition) {
  if (mutated("no_tombstones")) return "";
  return fmt::format(
      "WITH millrace_left AS (INSERT INTO millrace.tombstone (pipeline, source_table, digest, key, "
      "version) SELECT {}, {}, hash_array_extended(k.key, 0), k.key, k.v FROM (SELECT {} AS key, "
      "e.v AS v FROM {}{}) AS k) ",
      watched.pipeline, watched.table, key_of(binding), from,
      condition.empty() ? "" : " WHERE " + condition);
}

Statement incomplete_statement(const Binding& binding, const Watched& watched,
                               const RowsShape& like, bool move) {
  Statement statement;
  RowsShape shape = like;
  shape.version = !watched.stale.empty();
  shape.ordinal = true;
  shape.lean = true;
  const std::string from = rows_sql(binding, shape, statement);
  // A change from before the stale version may meet stale rows: a chunk is still to come.
  std::string fresh;
  if (!watched.stale.empty()) {
    fresh = fmt::format(" AND (t.{0} >= {1} OR e.v < {1})", kVersionColumn, watched.stale);
  }
  const auto none = [&](char prefix) {
    return "NOT EXISTS (SELECT 1 FROM " + binding.table_sql() + " AS t WHERE " +
           key_matches(binding, prefix) + fresh + ")";
  };
  statement.sql = "SELECT e.n FROM " + from + " WHERE " + none('d');
  if (move) statement.sql += " AND " + none('o');
  if (shape.filter) statement.sql += " AND e.w";
  statement.sql += " ORDER BY e.n";
  return statement;
}

RowStatements chunk_statements(const Binding& binding, const Watched& watched, bool replace) {
  RowStatements out;
  RowsShape shape{all_present(binding)};
  shape.filter = !binding.mapping.where.empty();
  if (shape.filter && replace) out.filter = filter_statement(binding, shape.present, nullptr);
  const std::string from = rows_sql(binding, shape, out.write);
  out.write.sql = insert_sql(binding, from,
                             "NOT EXISTS (SELECT 1 FROM millrace.tombstone AS x WHERE " +
                                 forbids(binding, watched) + ")") +
                  (replace ? replace_sql(binding) : "DO NOTHING");
  return out;
}

// Joins, not an OR of two EXISTS: those could be answered from a hash of the whole table.
Statement taken_statement(const Binding& binding, const Watched& watched, bool replace) {
  Statement statement;
  RowsShape shape{all_present(binding)};
  shape.ordinal = true;
  shape.lean = true;
  const std::string from = rows_sql(binding, shape, statement);
  statement.sql = "SELECT e.n FROM " + from + " JOIN " + binding.table_sql() + " AS t ON " +
                  key_matches(binding, 'd') +
                  (replace ? fmt::format(" AND t.{} >= e.v", kVersionColumn) : "") +
                  " UNION ALL SELECT e.n FROM " + from + " JOIN millrace.tombstone AS x ON " +
                  forbids(binding, watched);
  return statement;
}

RangeLook range_look(const Binding& binding, const Watched& watched) {
  RangeLook look;
  std::vector<const Output*> key;
  for (const Output& output : binding.outputs) {
    if (!output.key) continue;
    const auto is = [&output](uint32_t oid) { return oid == output.base_oid; };
    if (output.source < 0 || std::none_of(kOneText.begin(), kOneText.end(), is) ||
        !is(binding.types[static_cast<size_t>(output.source)].base_oid)) {
      return {};
    }
    key.push_back(&output);
    look.places.push_back(static_cast<size_t>(output.source));
  }
  // The order of its index; that of the source's is likely the same.
  std::vector<size_t> order;
  for (const UniqueKey& unique : binding.target.unique_keys) {
    order.clear();
    for (const std::string& column : unique.columns) {
      const auto at = std::find_if(key.begin(), key.end(),
                                   [&](const Output* output) { return output->column == column; });
      if (at != key.end()) order.push_back(static_cast<size_t>(at - key.begin()));
    }
    if (order.size() == key.size() && unique.columns.size() == key.size()) break;
  }
  if (key.empty() || order.size() != key.size()) return {};
  std::vector<std::string> columns, first, last, texts, dead;
  for (const size_t k : order) {
    columns.push_back("t." + quote_identifier(key[k]->column));
    first.push_back(fmt::format("${}::{}", k + 1, key[k]->base_type));
    last.push_back(fmt::format("${}::{}", key.size() + k + 1, key[k]->base_type));
  }
  for (size_t k = 0; k < key.size(); ++k) {
    texts.push_back("t." + quote_identifier(key[k]->column) + "::text COLLATE \"C\"");
    dead.push_back(fmt::format("x.key[{}]", k + 1));
  }
  const size_t next = 2 * key.size() + 1;
  look.sql = fmt::format(
      "(SELECT true, {} FROM {} AS t WHERE ({}) >= ({}) AND ({}) <= ({}) LIMIT ${}::int8) UNION "
      "ALL "
      "(SELECT false, {} FROM millrace.tombstone AS x WHERE x.pipeline = {} AND x.source_table = "
      "{} "
      "AND x.version >= ${}::bytea LIMIT ${}::int8)",
      join(texts, ", "), binding.table_sql(), join(columns, ", "), join(first, ", "),
      join(columns, ", "), join(last, ", "), next + 1, join(dead, ", "), watched.pipeline,
      watched.table, next, next + 2);
  return look;
}

namespace {

// Empty where the target's values are not the source's as they are.
std::string copy_sql(const Binding& binding) {
  if (!binding.mapping.where.empty() || !binding.mapping.expressions.empty()) return {};
  std::vector<std::string> columns(binding.source.columns.size());
  for (const Output& output : binding.outputs) {
    if (output.source < 0) return {};
    columns[static_cast<size_t>(output.source)] = quote_identifier(output.column);
  }
  for (const std::string& column : columns) {
    if (column.empty()) return {};
  }
  columns.emplace_back(kVersionColumn);
  return "COPY " + binding.table_sql() + " (" + join(columns, ", ") + ") FROM STDIN";
}

}  // namespace

std::string chunk_copy_sql(const Binding& binding) {
  const std::string copy = copy_sql(binding);
  if (copy.empty()) return {};
  return "SAVEPOINT millrace_rows; " + copy + "; RELEASE SAVEPOINT millrace_rows";
}

// Without a savepoint: where it fails, so does the chunk's transaction.
std::string chunk_copy_binary_sql(const Binding& binding) {
  for (const Output& output : binding.outputs) {
    if (output.source < 0) return {};
    const Column& column = binding.source.columns[static_cast<size_t>(output.source)];
    if (column.type_oid != output.base_oid || !copies_in_binary(output.base_oid)) return {};
    if (output.key && !has_text_of_binary(output.base_oid)) return {};
  }
  const std::string copy = copy_sql(binding);
  return copy.empty() ? copy : copy + " (FORMAT binary)";
}

}  // namespace millrace::postgres
