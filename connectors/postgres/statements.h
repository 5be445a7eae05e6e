// Statements: the SQL that writes rows of one binding, as text with the parameters it wants.
//
// Rows reach every bulk statement through one derived table `e`: see rows_sql.h.
// Pure functions: no connection, no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "connectors/postgres/binding.h"
#include "connectors/postgres/rows_sql.h"
#include "relay/base/result.h"

namespace millrace::postgres {

inline constexpr const char* kCopySavepoint = "millrace_copy";

// What writing one group of rows takes, in this order.
struct RowStatements {
  std::optional<Statement> filter;  // removes rows that `where` does not let through
  Statement write;
  // Set when every row must be there: returns the number (from 1) of one that is not in the target.
  std::optional<Statement> missing;
};

RowStatements upsert_statements(const Binding& binding);
RowStatements remove_statements(const Binding& binding);
RowStatements append_statements(const Binding& binding);
// The COPY that may stand for either where no row is in the way, inside the savepoint
// kCopySavepoint; columns are the outputs and, with a key, the version. Empty where SQL of the
// mapping is to see the rows.
std::string copy_fresh_sql(const Binding& binding);
// Errors: bad_data when an expression mixes values that the change has with values that it has not.
Result<RowStatements> partial_statements(const Binding& binding, const Present& present);
// Full rows need not be in the target: an upsert must follow.
Result<RowStatements> move_statements(const Binding& binding, const Present& present);

// One row equal to the old one, in tables without a key. Parameters are scalars, not arrays.
Statement remove_whole_statement(const Binding& binding);
Statement replace_whole_statement(const Binding& binding);
// Returns a row when `where` lets the row through.
Statement passes_statement(const Binding& binding);

// The array parameter's element type for a column whose base type has this OID; null: text and a
// cast.
const char* plain_type(uint32_t base_oid);

}  // namespace millrace::postgres
