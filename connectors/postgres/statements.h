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
  // Of a watched table: returns the numbers of all rows that must be completed before.
  std::optional<Statement> incomplete;
};

struct Watched;  // history_statements.h

// `watched`: what goes leaves a tombstone; null: the table has no open job.
RowStatements upsert_statements(const Binding& binding, const Watched* watched = nullptr);
RowStatements remove_statements(const Binding& binding, const Watched* watched = nullptr);
// The parts that other statements of rows are made of.
// The guard: a row never takes the place of a newer one.
std::string guard(const char* version);
// t's key equals e's: `prefix` d for the row's key, o for the old one.
std::string key_matches(const Binding& binding, char prefix);
Present all_present(const Binding& binding);
Statement filter_statement(const Binding& binding, const Present& present, const Watched* watched);
// "INSERT INTO … SELECT … FROM e ON CONFLICT (…) "; `more`: conditions besides the filter.
std::string insert_sql(const Binding& binding, const std::string& from, const std::string& more);
// "DO UPDATE SET … WHERE guard"
std::string replace_sql(const Binding& binding);

RowStatements append_statements(const Binding& binding);
// The COPY that may stand for either where no row is in the way, inside the savepoint
// kCopySavepoint; columns are the outputs and, with a key, the version. Empty where SQL of the
// mapping is to see the rows.
std::string copy_fresh_sql(const Binding& binding);
// Errors: bad_data when an expression mixes values that the change has with values that it has not.
Result<RowStatements> partial_statements(const Binding& binding, const Present& present,
                                         const Watched* watched = nullptr);
// Full rows need not be in the target: an upsert must follow.
Result<RowStatements> move_statements(const Binding& binding, const Present& present,
                                      const Watched* watched = nullptr);

// One row equal to the old one, in tables without a key. Parameters are scalars, not arrays.
Statement remove_whole_statement(const Binding& binding);
Statement replace_whole_statement(const Binding& binding);
// Returns a row when `where` lets the row through.
Statement passes_statement(const Binding& binding);

// The array parameter's element type for a column whose base type has this OID; null: text and a
// cast.
const char* plain_type(uint32_t base_oid);

}  // namespace millrace::postgres
