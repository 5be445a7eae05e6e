// The part of Catalog that reads tables.
#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include "relay/source/catalog.h"
#include "relay/source/quoting.h"

namespace millrace::source {
namespace {

// One row a relation. The key's attribute numbers: of the index that the replica identity names;
// for FULL of the primary key. Deferrable and invalid indexes identify nothing (relcache.c,
// RelationGetIndexList). A partition is odd when its identity does not carry its root's key.
constexpr const char* kTablesSql = R"(
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident,
         row_security_active(c.oid),
         has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
         pg_has_role(current_user, c.relowner, 'USAGE'),
         EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary
                                          AND i.indisvalid AND i.indimmediate),
         EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident
                                          AND i.indisvalid AND i.indimmediate),
         (SELECT array_to_string((i.indkey::int2[])[0:i.indnkeyatts - 1], ' ')
          FROM pg_index i
          WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
            AND CASE c.relreplident WHEN 'i' THEN i.indisreplident
                                    WHEN 'n' THEN false ELSE i.indisprimary END LIMIT 1),
         c.relispartition
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE {}
  ORDER BY n.nspname, c.relname)";

constexpr const char* kColumnsSql = R"(
  SELECT a.attnum, a.attname, a.atttypid, a.atttypmod, b.nspname, b.typname
  FROM pg_attribute a
  LEFT JOIN LATERAL (
    WITH RECURSIVE chain AS (
      SELECT t.typtype, t.typbasetype, t.typnamespace, t.typname FROM pg_type t
      WHERE t.oid = a.atttypid
      UNION ALL
      SELECT t.typtype, t.typbasetype, t.typnamespace, t.typname
      FROM chain JOIN pg_type t ON chain.typtype = 'd' AND t.oid = chain.typbasetype)
    SELECT n.nspname, chain.typname FROM chain JOIN pg_namespace n ON n.oid = chain.typnamespace
    WHERE chain.typtype <> 'd') b ON a.atttypid >= 10000
  WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  ORDER BY a.attnum)";

constexpr const char* kAncestorsSql = R"(
  SELECT n.nspname, c.relname
  FROM pg_partition_ancestors($1::oid::regclass) WITH ORDINALITY a(relid, place)
  JOIN pg_class c ON c.oid = a.relid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE a.relid <> $1::oid ORDER BY a.place)";

constexpr const char* kOddPartitionsSql = R"(
  SELECT n.nspname, c.relname
  FROM pg_partition_tree($1::oid::regclass) t
  JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE t.isleaf AND c.relreplident <> 'f' AND c.relreplident <> $2
    AND NOT (c.relreplident = 'd' AND $2 = 'f')
  ORDER BY 1, 2)";

std::vector<int> parse_numbers(std::string_view text) {
  std::vector<int> out;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end) {
    int number = 0;
    const auto [next, error] = std::from_chars(at, end, number);
    if (error == std::errc()) out.push_back(number);
    at = next + 1;
  }
  return out;
}

ReplicaIdentity identity_of(std::string_view letter) {
  if (letter == "f") return ReplicaIdentity::full;
  if (letter == "i") return ReplicaIdentity::index;
  if (letter == "n") return ReplicaIdentity::nothing;
  return ReplicaIdentity::default_key;
}

bool has_selected_ancestor(const SourceTable& table, const std::set<TableName>& selected) {
  return std::any_of(table.ancestors.begin(), table.ancestors.end(),
                     [&selected](const TableName& name) { return selected.contains(name); });
}

}  // namespace

Result<Selection> Catalog::tables(std::span<const TableSelector> selectors) {
  Selection selection;
  std::vector<SourceTable> found;
  std::set<TableName> by_name;  // exactly asked for
  for (const TableSelector& selector : selectors) {
    bool matched = false;
    TRY(select(selector, found, matched));
    if (!matched) selection.missing.push_back(selector);
    if (!selector.is_pattern) by_name.insert(selector.name);
  }
  std::set<TableName> selected;
  for (const SourceTable& table : found) selected.insert(table.name());
  std::set<TableName> taken;
  for (SourceTable& table : found) {
    const TableName name = table.name();
    if (!by_name.contains(name) && has_selected_ancestor(table, selected)) continue;
    if (taken.insert(name).second) selection.tables.push_back(std::move(table));
  }
  std::sort(selection.tables.begin(), selection.tables.end(),
            [](const SourceTable& a, const SourceTable& b) { return a.name() < b.name(); });
  return selection;
}

Status Catalog::select(const TableSelector& selector, std::vector<SourceTable>& out,
                       bool& matched) {
  const bool glob = selector.is_pattern;
  const std::string where =
      glob ? "n.nspname LIKE $1 AND c.relname LIKE $2 AND c.relkind IN ('r', 'p') AND "
             "c.relpersistence = 'p' AND n.nspname NOT LIKE 'pg\\_%' AND "
             "n.nspname <> 'information_schema'"
           : "n.nspname = $1 AND c.relname = $2 AND c.relkind NOT IN ('i', 'I', 't', 'c')";
  TRY_ASSIGN(const Rows rows,
             query("read the tables", fmt::format(kTablesSql, where),
                   {glob ? glob_to_like(selector.name.schema) : selector.name.schema,
                    glob ? glob_to_like(selector.name.name) : selector.name.name}));
  matched = rows.count() > 0;
  for (int i = 0; i < rows.count(); ++i) {
    SourceTable table;
    TableSchema schema;
    schema.relation_oid = rows.oid(i, 0);
    schema.schema = rows.string(i, 1);
    schema.name = rows.string(i, 2);
    schema.identity = identity_of(rows.text(i, 5));
    table.kind = rows.text(i, 3).front();
    table.is_partitioned = table.kind == 'p';
    table.is_logged = rows.text(i, 4) == "p";
    table.hides_rows = rows.boolean(i, 6);
    table.can_select = rows.boolean(i, 7);
    table.is_ours = rows.boolean(i, 8);
    table.has_primary_key = rows.boolean(i, 9);
    table.lost_identity_index = schema.identity == ReplicaIdentity::index && !rows.boolean(i, 10);
    table.schema = seal_schema(std::move(schema));
    TRY(read_columns(table, parse_numbers(rows.text(i, 11))));
    const std::string oid = rows.string(i, 0);
    if (rows.boolean(i, 12)) {
      TRY_ASSIGN(const Rows above, query("read the partitions", kAncestorsSql, {oid}));
      for (int k = 0; k < above.count(); ++k) {
        table.ancestors.push_back({above.string(k, 0), above.string(k, 1)});
      }
    }
    if (table.is_partitioned) {
      TRY_ASSIGN(const Rows odd,
                 query("read the partitions", kOddPartitionsSql, {oid, rows.string(i, 5)}));
      for (int k = 0; k < odd.count(); ++k) {
        table.odd_partitions.push_back({odd.string(k, 0), odd.string(k, 1)});
      }
    }
    out.push_back(std::move(table));
  }
  return {};
}

Status Catalog::read_columns(SourceTable& table, const std::vector<int>& key) {
  TableSchema schema = *table.schema;
  TRY_ASSIGN(const Rows rows,
             query("read the columns", kColumnsSql, {std::to_string(schema.relation_oid)}));
  for (int i = 0; i < rows.count(); ++i) {
    Column column;
    const auto number = static_cast<int>(rows.integer(i, 0));
    column.name = rows.string(i, 1);
    column.type_oid = rows.oid(i, 2);
    column.type_modifier = static_cast<int32_t>(rows.integer(i, 3));
    column.type_schema = rows.string(i, 4);
    column.type_name = rows.string(i, 5);
    column.in_key = std::find(key.begin(), key.end(), number) != key.end();
    schema.columns.push_back(std::move(column));
  }
  table.schema = seal_schema(std::move(schema));
  return {};
}

Result<std::vector<std::string>> Catalog::primary_key(const std::string& schema,
                                                      const std::string& table) {
  TRY_ASSIGN(const Rows rows, query("read the primary key", R"(
    SELECT a.attname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indisvalid AND i.indimmediate
    CROSS JOIN LATERAL unnest((i.indkey::int2[])[0:i.indnkeyatts - 1])
      WITH ORDINALITY k(number, place)
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
    WHERE n.nspname = $1 AND c.relname = $2 ORDER BY k.place)",
                                    {schema, table}));
  std::vector<std::string> out;
  out.reserve(static_cast<size_t>(rows.count()));
  for (int i = 0; i < rows.count(); ++i) out.push_back(rows.string(i, 0));
  return out;
}

}  // namespace millrace::source
