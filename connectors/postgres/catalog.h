// Catalog: what the target's system tables say about the tables that Millrace writes.
//
// One thread (the connection's). Names are plain, types are SQL text as format_type gives it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "connectors/postgres/connection.h"
#include "relay/event/table_schema.h"

namespace millrace::postgres {

struct CatalogColumn {
  std::string name;
  uint32_t base_oid = 0;  // of the type below any domains
  std::string base_type;  // without modifier: what a value is cast to; the assignment does the rest
  std::string full_type;  // as declared
  bool not_null = false;
  bool has_default = false;
  bool generated = false;  // GENERATED ALWAYS AS (…)
  char identity = 0;       // 'a' always, 'd' by default
};

// A unique index that ON CONFLICT can use: immediate, valid, no predicate, no expressions.
struct UniqueKey {
  std::string index;
  std::vector<std::string> columns;
  std::vector<std::string> equals;  // for each: OPERATOR(schema.=) of the index
};

struct CatalogTable {
  uint32_t oid = 0;
  char kind = 0;                   // 'r' table, 'p' partitioned
  bool owned = false;              // the role may alter it
  std::string missing_privileges;  // "INSERT, UPDATE": what the role lacks
  std::vector<CatalogColumn> columns;
  std::vector<UniqueKey> unique_keys;

  const CatalogColumn* find(const std::string& column) const;
};

struct TableName {
  std::string schema, table;
};

// In the order of `names`; nullopt: there is no such table.
Result<std::vector<std::optional<CatalogTable>>> read_tables(Connection& connection,
                                                             std::span<const TableName> names);
Result<std::optional<CatalogTable>> read_table(Connection& connection, const std::string& schema,
                                               const std::string& name);

// A source column's type as the target knows it; `text` where it does not.
struct SourceType {
  bool known = false;
  uint32_t base_oid = 0;
  std::string type;       // without modifier
  std::string full_type;  // with the column's modifier
};
// Of each source's columns.
Result<std::vector<std::vector<SourceType>>> read_source_types(
    Connection& connection, std::span<const TableSchema* const> sources);

// All foreign keys of the target as (child, parent), names as schema.table quoted by
// quote_identifier.
Result<std::vector<std::pair<std::string, std::string>>> read_foreign_keys(Connection& connection);

// "schema"."table"
std::string quote_table(const std::string& schema, const std::string& name);

}  // namespace millrace::postgres
