// The part of Catalog that reads tables.
#include <algorithm>
#include <charconv>
#include <set>
#include <unordered_map>

#include <fmt/format.h>

#include "relay/source/catalog.h"
#include "relay/source/quoting.h"

namespace millrace::source {
namespace {

// All tables are asked for in one statement, and so are their columns: a thousand statements take
// seconds before the first row is read.
//
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
  SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, b.nspname, b.typname
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
  WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attgenerated = ''
  ORDER BY a.attrelid, a.attnum)";

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

// Those that are named exactly are one query, each pattern is one.
Result<Selection> Catalog::tables(std::span<const TableSelector> selectors) {
  Selection selection;
  std::vector<SourceTable> found;
  std::vector<std::string> schemas, names;  // exactly asked for
  for (const TableSelector& selector : selectors) {
    if (selector.is_pattern) continue;
    schemas.push_back(selector.name.schema);
    names.push_back(selector.name.name);
  }
  if (!names.empty()) {
    TRY(select(
        "(n.nspname, c.relname) IN (SELECT s, r FROM unnest($1::text[], $2::text[]) u(s, r)) "
        "AND c.relkind NOT IN ('i', 'I', 't', 'c')",
        array_literal(schemas), array_literal(names), found));
  }
  std::set<TableName> by_name;
  for (const SourceTable& table : found) by_name.insert(table.name());
  for (const TableSelector& selector : selectors) {
    bool matched = by_name.contains(selector.name);
    if (selector.is_pattern) {
      const size_t before = found.size();
      TRY(
          select("n.nspname LIKE $1 AND c.relname LIKE $2 AND c.relkind IN ('r', 'p') AND "
                 "c.relpersistence = 'p' AND n.nspname NOT LIKE 'pg\\_%' AND "
                 "n.nspname <> 'information_schema'",
                 glob_to_like(selector.name.schema), glob_to_like(selector.name.name), found));
      matched = found.size() > before;
    }
    if (!matched) selection.missing.push_back(selector);
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

// Appends the tables for which `where` holds, which says $1 of their schemas and $2 of their names.
Status Catalog::select(const std::string& where, const std::string& schemas,
                       const std::string& names, std::vector<SourceTable>& out) {
  TRY_ASSIGN(const Rows rows,
             query("read the tables", fmt::format(kTablesSql, where), {schemas, names}));
  std::vector<Shape> shapes(static_cast<size_t>(rows.count()));
  for (int i = 0; i < rows.count(); ++i) {
    Shape& shape = shapes[static_cast<size_t>(i)];
    shape.schema.relation_oid = rows.oid(i, 0);
    shape.schema.schema = rows.string(i, 1);
    shape.schema.name = rows.string(i, 2);
    shape.schema.identity = identity_of(rows.text(i, 5));
    shape.key = parse_numbers(rows.text(i, 11));
  }
  TRY(read_columns(shapes));
  for (int i = 0; i < rows.count(); ++i) {
    SourceTable table;
    table.schema = seal_schema(std::move(shapes[static_cast<size_t>(i)].schema));
    table.kind = rows.text(i, 3).front();
    table.is_partitioned = table.kind == 'p';
    table.is_logged = rows.text(i, 4) == "p";
    table.hides_rows = rows.boolean(i, 6);
    table.can_select = rows.boolean(i, 7);
    table.is_ours = rows.boolean(i, 8);
    table.has_primary_key = rows.boolean(i, 9);
    table.lost_identity_index =
        table.schema->identity == ReplicaIdentity::index && !rows.boolean(i, 10);
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

Status Catalog::read_columns(std::span<Shape> shapes) {
  std::vector<std::string> oids;
  std::unordered_map<uint32_t, Shape*> by_oid;
  for (Shape& shape : shapes) {
    oids.push_back(std::to_string(shape.schema.relation_oid));
    by_oid.emplace(shape.schema.relation_oid, &shape);
  }
  if (oids.empty()) return {};
  TRY_ASSIGN(const Rows rows, query("read the columns", kColumnsSql, {array_literal(oids)}));
  for (int i = 0; i < rows.count(); ++i) {
    Shape& shape = *by_oid.at(rows.oid(i, 0));
    Column column;
    const auto number = static_cast<int>(rows.integer(i, 1));
    column.name = rows.string(i, 2);
    column.type_oid = rows.oid(i, 3);
    column.type_modifier = static_cast<int32_t>(rows.integer(i, 4));
    column.type_schema = rows.string(i, 5);
    column.type_name = rows.string(i, 6);
    column.in_key = std::find(shape.key.begin(), shape.key.end(), number) != shape.key.end();
    shape.schema.columns.push_back(std::move(column));
  }
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
