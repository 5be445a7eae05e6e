// plan_table: how the two sides of a comparison present one table of the pipeline.
//
// The target shows its columns; the source shows what each of them must hold: the column of the
// same name, or the mapping's expression, as the target's type writes it. Target columns that
// nothing fills, and generated ones, are left out. Pure; no I/O.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "relay/base/result.h"
#include "relay/event/compare.h"
#include "relay/event/table_schema.h"
#include "relay/sink/target.h"

namespace millrace::chunk {

// rows: what they hold. keys: which rows there are. drift: of each column whether it is NULL, its
// DEFAULT in the target, or another value: what earlier rows lack of a column that came later.
enum class Compared : uint8_t { rows, keys, drift };

struct TablePlan {
  Compared what = Compared::rows;
  std::string table;                     // of the source, as display_name writes it
  std::string target_table;              // likewise
  bool keyed = false;                    // else only counts and a hash of the whole can be compared
  std::vector<std::string> key_columns;  // of the source, in the table's order
  std::vector<std::string> columns;      // of the target, those compared
  compare::Side source, target;
};

// Errors: bad_data with why it can not be compared.
Result<TablePlan> plan_table(const TableSchema& schema, const sink::TableMapping& mapping,
                             const compare::TableShape& source, const compare::TableShape& target,
                             Compared what);

}  // namespace millrace::chunk
