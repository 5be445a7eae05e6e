#include "connectors/postgres/catalog.h"

#include <algorithm>
#include <cstdlib>

#include "connectors/postgres/array_literal.h"

namespace millrace::postgres {
namespace {

uint32_t number(std::string_view text) {
  return static_cast<uint32_t>(std::strtoul(std::string(text).c_str(), nullptr, 10));
}

// Read for each table, by each process that begins: so they are prepared, and planned only once.

constexpr const char* kTable =
    "SELECT c.oid, c.relkind, pg_has_role(c.relowner, 'USAGE'), (SELECT string_agg(p, ', ') FROM "
    "unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p WHERE NOT "
    "has_table_privilege(c.oid, p)) "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = $1::text AND c.relname = $2::text AND c.relkind IN ('r', 'p', 'v', 'm', "
    "'f')";

// A domain's base type is found by walking down typbasetype.
constexpr const char* kColumns =
    "SELECT a.attname, b.oid, format_type(b.oid, -1), format_type(a.atttypid, a.atttypmod), "
    "a.attnotnull, a.atthasdef, a.attgenerated, a.attidentity "
    "FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid CROSS JOIN LATERAL ("
    "SELECT CASE WHEN y.typbasetype = 0 THEN y.oid ELSE ("
    "WITH RECURSIVE d(oid, base, depth) AS ("
    "SELECT y.oid, y.typbasetype, 0 UNION ALL "
    "SELECT t.oid, t.typbasetype, d.depth + 1 FROM d JOIN pg_type t ON t.oid = d.base "
    "WHERE d.base <> 0) SELECT oid FROM d ORDER BY depth DESC LIMIT 1) END AS oid) b "
    "WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

constexpr const char* kUniqueKeys =
    "SELECT i.indexrelid::regclass::text, a.attname, coalesce('OPERATOR(' || "
    "quote_ident(n.nspname) || "
    "'.' || o.oprname || ')', '=') FROM pg_index i "
    "CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) k "
    "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k] "
    "JOIN pg_opclass c ON c.oid = i.indclass[k] "
    "LEFT JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype "
    "AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3 "
    "LEFT JOIN pg_operator o ON o.oid = m.amopopr LEFT JOIN pg_namespace n ON n.oid = "
    "o.oprnamespace "
    "WHERE i.indrelid = $1::oid AND i.indisunique AND i.indimmediate AND i.indisvalid "
    "AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY i.indisprimary DESC, i.indexrelid, k";

constexpr const char* kTypes =
    "SELECT t.oid IS NOT NULL, coalesce(nullif(t.typbasetype, 0), t.oid, 25), "
    "coalesce(format_type(t.oid, -1), 'text'), coalesce(format_type(t.oid, v.m), 'text') "
    "FROM unnest($1::oid[], $2::text[], $3::int4[]) WITH ORDINALITY v(o, n, m, i) "
    "LEFT JOIN pg_type t ON t.oid = "
    "CASE WHEN v.n <> '' THEN to_regtype(v.n)::oid ELSE v.o END ORDER BY v.i";

Status read_columns(Connection& connection, const std::string& oid, CatalogTable& table) {
  const char* const params[] = {oid.c_str()};
  const Reply reply = connection.run_prepared(kColumns, params);
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's columns"));
  for (int i = 0; i < reply.rows(); ++i) {
    CatalogColumn column;
    column.name = reply.text(i, 0);
    column.base_oid = number(reply.text(i, 1));
    column.base_type = reply.text(i, 2);
    column.full_type = reply.text(i, 3);
    column.not_null = reply.text(i, 4) == "t";
    column.has_default = reply.text(i, 5) == "t";
    column.generated = !reply.text(i, 6).empty();
    column.identity = reply.text(i, 7).empty() ? '\0' : reply.text(i, 7).front();
    table.columns.push_back(std::move(column));
  }
  return {};
}

Status read_unique_keys(Connection& connection, const std::string& oid, CatalogTable& table) {
  const char* const params[] = {oid.c_str()};
  const Reply reply = connection.run_prepared(kUniqueKeys, params);
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's indexes"));
  for (int i = 0; i < reply.rows(); ++i) {
    if (table.unique_keys.empty() || table.unique_keys.back().index != reply.text(i, 0)) {
      table.unique_keys.emplace_back().index = reply.text(i, 0);
    }
    table.unique_keys.back().columns.emplace_back(reply.text(i, 1));
    table.unique_keys.back().equals.emplace_back(reply.text(i, 2));
  }
  return {};
}

}  // namespace

const CatalogColumn* CatalogTable::find(const std::string& column) const {
  const auto at = std::find_if(columns.begin(), columns.end(),
                               [&](const CatalogColumn& c) { return c.name == column; });
  return at == columns.end() ? nullptr : &*at;
}

std::string quote_table(const std::string& schema, const std::string& name) {
  return quote_identifier(schema) + "." + quote_identifier(name);
}

Result<std::optional<CatalogTable>> read_table(Connection& connection, const std::string& schema,
                                               const std::string& name) {
  const char* const names[] = {schema.c_str(), name.c_str()};
  const Reply reply = connection.run_prepared(kTable, names);
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's tables"));
  if (reply.rows() == 0) return std::optional<CatalogTable>();
  CatalogTable table;
  const std::string oid(reply.text(0, 0));
  table.oid = number(oid);
  table.kind = reply.text(0, 1).front();
  table.owned = reply.text(0, 2) == "t";
  table.missing_privileges = reply.text(0, 3);
  TRY(read_columns(connection, oid, table));
  TRY(read_unique_keys(connection, oid, table));
  return std::optional<CatalogTable>(std::move(table));
}

Result<std::vector<SourceType>> read_source_types(Connection& connection,
                                                  const TableSchema& source) {
  std::vector<SourceType> types;
  if (source.columns.empty()) return types;
  // Types by number where they are built in, by name otherwise; a name without schema is
  // pg_catalog's.
  ArrayLiteral oids, names, modifiers;
  for (const Column& column : source.columns) {
    std::string name;
    if (!column.type_name.empty()) {
      name = quote_table(column.type_schema.empty() ? "pg_catalog" : column.type_schema,
                         column.type_name);
    }
    oids.add(std::to_string(column.type_oid < 16384 ? column.type_oid : 0));
    names.add(name);
    modifiers.add(std::to_string(column.type_modifier));
  }
  const char* const params[] = {oids.finish(), names.finish(), modifiers.finish()};
  const Reply reply = connection.run_prepared(kTypes, params);
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's types"));
  for (int i = 0; i < reply.rows(); ++i) {
    SourceType type;
    type.known = reply.text(i, 0) == "t";
    type.base_oid = number(reply.text(i, 1));
    type.type = reply.text(i, 2);
    type.full_type = reply.text(i, 3);
    types.push_back(std::move(type));
  }
  return types;
}

Result<std::vector<std::pair<std::string, std::string>>> read_foreign_keys(Connection& connection) {
  const Reply reply = connection.run(
      "SELECT cn.nspname, c.relname, pn.nspname, p.relname FROM pg_constraint f "
      "JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace "
      "JOIN pg_class p ON p.oid = f.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace "
      "WHERE f.contype = 'f' AND f.conrelid <> f.confrelid");
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's foreign keys"));
  std::vector<std::pair<std::string, std::string>> edges;
  edges.reserve(static_cast<size_t>(reply.rows()));
  for (int i = 0; i < reply.rows(); ++i) {
    edges.emplace_back(quote_table(std::string(reply.text(i, 0)), std::string(reply.text(i, 1))),
                       quote_table(std::string(reply.text(i, 2)), std::string(reply.text(i, 3))));
  }
  return edges;
}

}  // namespace millrace::postgres
