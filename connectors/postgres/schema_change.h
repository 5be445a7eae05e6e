// Schema change: what a target table lacks for a source table's shape, and the SQL that adds it.
//
// Invariant: only nullable columns are ever added; nothing is renamed, retyped or dropped. What may
// be a rename is left to a person: the values of existing rows are in the old column.
// No state; `binding` as bind_table makes it. Postgres describes columns in the order in which they
// were added, so a column that is new stands behind all that are not.
#pragma once

#include <string>
#include <string_view>

#include "connectors/postgres/binding.h"

namespace millrace::postgres {

// Fills binding.missing and a finding for each, with the SQL that mends it. REQUIRES: outputs are
// bound.
void find_missing_columns(Binding& binding);

// ALTER TABLE … ADD COLUMN IF NOT EXISTS for all that is missing. Empty: nothing is, or one of them
// can not be added without a person (a key, a type that the target lacks, a possible rename, a
// column that the mapping uses).
std::string add_columns_sql(const Binding& binding);

// The SQL by which the target would take what it rejected with `sqlstate`; `column` and `message`
// as Postgres gave them, may be empty. Empty: none is known.
std::string mending_sql(const Binding& binding, std::string_view sqlstate, std::string_view column,
                        std::string_view message);

}  // namespace millrace::postgres
