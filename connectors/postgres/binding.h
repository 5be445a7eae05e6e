// Binding: one source table's shape and mapping laid over the target table as it is.
//
// It answers, for statements.h: which target columns are written from what, which of them are the
// key that ON CONFLICT names, and which source columns each SQL expression looks at. That last
// thing is asked of Postgres: an expression looks at a column if it does not parse without it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "connectors/postgres/catalog.h"
#include "relay/base/clock.h"
#include "relay/event/table_schema.h"
#include "relay/sink/target.h"

namespace millrace::postgres {

inline constexpr const char* kVersionColumn = "_millrace";

struct Output {
  std::string column;   // of the target
  int source = -1;      // index of the source column that is copied, or
  int expression = -1;  // of mapping.expressions
  bool key = false;
  std::string equals = "=";  // key: the index' own operator
  uint32_t base_oid = 0;
  std::string base_type;
  std::string full_type;
  bool identity_always = false;  // takes a value on insert, never on update
};

// A source column that passes by its name, and that the target has not.
struct MissingColumn {
  size_t source = 0;   // index of the source column
  size_t finding = 0;  // index in Binding::findings
};

struct Binding {
  // When it was read: known_tables.h. The writer's transaction; 0: outside of one.
  uint64_t read_in = 0;
  SteadyTime read_at;
  TableSchema source;
  sink::TableMapping mapping;
  bool exists = false;  // the target table
  CatalogTable target;
  std::vector<MissingColumn> missing;
  std::vector<Output> outputs;  // keys are in the order of the unique index
  bool keyed = false;
  bool key_expressions = false;   // a key column of the target is an expression
  std::vector<SourceType> types;  // of the source's columns
  std::vector<bool> used_by_sql;  // source columns that expressions or `where` look at
  std::vector<std::vector<bool>> expression_needs;
  std::vector<bool> where_needs;
  // Why rows can not be applied; each names the SQL that mends it. Empty: all is well.
  std::vector<Error> findings;

  std::string table_sql() const { return quote_table(mapping.target_schema, mapping.target_table); }
  std::string display() const;  // "table billing.payments" for messages
};

struct ToBind {
  const TableSchema* source = nullptr;
  const sink::TableMapping* mapping = nullptr;
};

// In their order. Errors are the connection's; what is wrong with the tables is in `findings`.
Result<std::vector<Binding>> bind_tables(Connection& connection, std::span<const ToBind> tables);

// The mapping of a source table; nullptr: there is none.
const sink::TableMapping* find_mapping(const std::vector<sink::TableMapping>& tables,
                                       const TableSchema& source);

// The derived table in which expressions see the source's columns, without row `without`; all NULL.
std::string null_row_sql(const Binding& binding, int without = -1);

}  // namespace millrace::postgres
