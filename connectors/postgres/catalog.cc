#include "connectors/postgres/catalog.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <tuple>

#include "connectors/postgres/array_literal.h"

namespace millrace::postgres {
namespace {

uint32_t number(std::string_view text) {
  return static_cast<uint32_t>(std::strtoul(std::string(text).c_str(), nullptr, 10));
}

// Of many tables in one statement: a statement a table takes a process with a thousand tables
// seconds before it writes its first row. They are prepared, so that they are planned only once.

constexpr size_t kTablesAtOnce = 500;  // bounds one reply

constexpr const char* kTables =
    "SELECT w.i, c.oid, c.relkind, pg_has_role(c.relowner, 'USAGE'), (SELECT string_agg(p, ', ') "
    "FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p WHERE NOT "
    "has_table_privilege(c.oid, p)) "
    "FROM unnest($1::text[], $2::text[]) WITH ORDINALITY w(s, r, i) "
    "JOIN pg_namespace n ON n.nspname = w.s "
    "JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.r "
    "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')";

// A domain's base type is found by walking down typbasetype.
constexpr const char* kColumns =
    "SELECT w.i, a.attname, b.oid, format_type(b.oid, -1), format_type(a.atttypid, a.atttypmod), "
    "a.attnotnull, a.atthasdef, a.attgenerated, a.attidentity "
    "FROM unnest($1::oid[]) WITH ORDINALITY w(oid, i) "
    "JOIN pg_attribute a ON a.attrelid = w.oid "
    "JOIN pg_type y ON y.oid = a.atttypid CROSS JOIN LATERAL ("
    "SELECT CASE WHEN y.typbasetype = 0 THEN y.oid ELSE ("
    "WITH RECURSIVE d(oid, base, depth) AS ("
    "SELECT y.oid, y.typbasetype, 0 UNION ALL "
    "SELECT t.oid, t.typbasetype, d.depth + 1 FROM d JOIN pg_type t ON t.oid = d.base "
    "WHERE d.base <> 0) SELECT oid FROM d ORDER BY depth DESC LIMIT 1) END AS oid) b "
    "WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY w.i, a.attnum";

constexpr const char* kUniqueKeys =
    "SELECT w.i, i.indexrelid::regclass::text, a.attname, coalesce('OPERATOR(' || "
    "quote_ident(n.nspname) || '.' || o.oprname || ')', '=') "
    "FROM unnest($1::oid[]) WITH ORDINALITY w(oid, i) JOIN pg_index i ON i.indrelid = w.oid "
    "CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) k "
    "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k] "
    "JOIN pg_opclass c ON c.oid = i.indclass[k] "
    "LEFT JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype "
    "AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3 "
    "LEFT JOIN pg_operator o ON o.oid = m.amopopr LEFT JOIN pg_namespace n ON n.oid = "
    "o.oprnamespace "
    "WHERE i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL "
    "AND i.indexprs IS NULL ORDER BY w.i, i.indisprimary DESC, i.indexrelid, k";

constexpr const char* kTypes =
    "SELECT t.oid IS NOT NULL, coalesce(nullif(t.typbasetype, 0), t.oid, 25), "
    "coalesce(format_type(t.oid, -1), 'text'), coalesce(format_type(t.oid, v.m), 'text') "
    "FROM unnest($1::oid[], $2::text[], $3::int4[]) WITH ORDINALITY v(o, n, m, i) "
    "LEFT JOIN pg_type t ON t.oid = "
    "CASE WHEN v.n <> '' THEN to_regtype(v.n)::oid ELSE v.o END ORDER BY v.i";

// The table that row `i` is about, by the number in its first column.
template <typename Tables>
auto& table_at(Tables& tables, const Reply& reply, int i) {
  return tables[number(reply.text(i, 0)) - 1];
}

Status read_columns(Connection& connection, const char* oids, std::span<CatalogTable* const> of) {
  const Reply reply = connection.run_prepared(kColumns, {&oids, 1});
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's columns"));
  for (int i = 0; i < reply.rows(); ++i) {
    CatalogColumn column;
    column.name = reply.text(i, 1);
    column.base_oid = number(reply.text(i, 2));
    column.base_type = reply.text(i, 3);
    column.full_type = reply.text(i, 4);
    column.not_null = reply.text(i, 5) == "t";
    column.has_default = reply.text(i, 6) == "t";
    column.generated = !reply.text(i, 7).empty();
    column.identity = reply.text(i, 8).empty() ? '\0' : reply.text(i, 8).front();
    table_at(of, reply, i)->columns.push_back(std::move(column));
  }
  return {};
}

Status read_unique_keys(Connection& connection, const char* oids,
                        std::span<CatalogTable* const> of) {
  const Reply reply = connection.run_prepared(kUniqueKeys, {&oids, 1});
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's indexes"));
  for (int i = 0; i < reply.rows(); ++i) {
    auto& keys = table_at(of, reply, i)->unique_keys;
    if (keys.empty() || keys.back().index != reply.text(i, 1)) {
      keys.emplace_back().index = reply.text(i, 1);
    }
    keys.back().columns.emplace_back(reply.text(i, 2));
    keys.back().equals.emplace_back(reply.text(i, 3));
  }
  return {};
}

Status read_some(Connection& connection, std::span<const TableName> names,
                 std::span<std::optional<CatalogTable>> out) {
  ArrayLiteral schemas, tables, oids;
  for (const TableName& name : names) {
    schemas.add(name.schema);
    tables.add(name.table);
  }
  const char* const params[] = {schemas.finish(), tables.finish()};
  const Reply reply = connection.run_prepared(kTables, params);
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's tables"));
  std::vector<CatalogTable*> found;
  for (int i = 0; i < reply.rows(); ++i) {
    CatalogTable& table = table_at(out, reply, i).emplace();
    table.oid = number(reply.text(i, 1));
    table.kind = reply.text(i, 2).front();
    table.owned = reply.text(i, 3) == "t";
    table.missing_privileges = reply.text(i, 4);
    oids.add(reply.text(i, 1));
    found.push_back(&table);
  }
  if (found.empty()) return {};
  const char* const list = oids.finish();
  TRY(read_columns(connection, list, found));
  return read_unique_keys(connection, list, found);
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

Result<std::vector<std::optional<CatalogTable>>> read_tables(Connection& connection,
                                                             std::span<const TableName> names) {
  std::vector<std::optional<CatalogTable>> tables(names.size());
  for (size_t at = 0; at < names.size(); at += kTablesAtOnce) {
    const size_t count = std::min(kTablesAtOnce, names.size() - at);
    TRY(read_some(connection, names.subspan(at, count), std::span(tables).subspan(at, count)));
  }
  return tables;
}

Result<std::optional<CatalogTable>> read_table(Connection& connection, const std::string& schema,
                                               const std::string& name) {
  const TableName names[] = {{schema, name}};
  TRY_ASSIGN(auto tables, read_tables(connection, names));
  return std::move(tables.front());
}

// A thousand tables have a few types: each is asked for once.
Result<std::vector<std::vector<SourceType>>> read_source_types(
    Connection& connection, std::span<const TableSchema* const> sources) {
  // Types by number where they are built in, by name otherwise; a name without schema is
  // pg_catalog's.
  ArrayLiteral oids, names, modifiers;
  std::map<std::tuple<uint32_t, std::string, int32_t>, size_t> places;
  std::vector<std::vector<size_t>> wanted;
  for (const TableSchema* source : sources) {
    auto& places_of = wanted.emplace_back();
    for (const Column& column : source->columns) {
      std::string name;
      if (!column.type_name.empty()) {
        name = quote_table(column.type_schema.empty() ? "pg_catalog" : column.type_schema,
                           column.type_name);
      }
      const uint32_t oid = column.type_oid < 16384 ? column.type_oid : 0;
      const auto [at, is_new] =
          places.emplace(std::tuple(oid, name, column.type_modifier), places.size());
      places_of.push_back(at->second);
      if (!is_new) continue;
      oids.add(std::to_string(oid));
      names.add(name);
      modifiers.add(std::to_string(column.type_modifier));
    }
  }
  std::vector<std::vector<SourceType>> types(sources.size());
  if (places.empty()) return types;
  const char* const params[] = {oids.finish(), names.finish(), modifiers.finish()};
  const Reply reply = connection.run_prepared(kTypes, params);
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's types"));
  for (size_t i = 0; i < sources.size(); ++i) {
    for (const size_t place : wanted[i]) {
      const auto row = static_cast<int>(place);
      SourceType& type = types[i].emplace_back();
      type.known = reply.text(row, 0) == "t";
      type.base_oid = number(reply.text(row, 1));
      type.type = reply.text(row, 2);
      type.full_type = reply.text(row, 3);
    }
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
