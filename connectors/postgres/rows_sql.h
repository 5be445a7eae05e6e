// RowsSql: the derived table `e` through which the rows of a bulk statement reach it.
//
// Every bulk statement reads its rows from one derived table:
//
//   unnest($1::int8[], $2::text[], …) AS u(c0, c1, …)      one array a source column, text form
//   └ _millrace_row: the source's columns by name, in the source's types: what expressions see
//     └ e: d<i> the value of output i, o<i> the old key of output i, w the filter, v the version, n
//     the row
//
// and only `e` and the target `t` are in scope around it, so that no name of a table or an
// expression can meet another. Array parameters have the column's own type where array text is
// plain (kPlainTypes); anything else travels as text[] and is cast to its base type without
// modifier: the assignment to the column then raises where a cast to varchar(3) would cut in
// silence.
//
// Pure functions: no connection, no state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "connectors/postgres/binding.h"

namespace millrace::postgres {

struct Param {
  enum class From : uint8_t { row, before, version };
  From from = From::row;
  uint32_t column = 0;  // of the source
};

struct Statement {
  std::string sql;
  std::vector<Param> params;
};

// Which source columns have a value: one flag a column.
using Present = std::vector<bool>;

struct RowsShape {
  Present present;
  bool old_keys = false;
  bool filter = false;
  bool version = true;
  bool ordinal = false;
  bool lean = false;  // only keys and the filter: large values need not travel twice
};

// "(SELECT …) AS e"; appends its parameters to `statement`.
std::string rows_sql(const Binding& binding, RowsShape shape, Statement& statement);

// The array parameter's element type for a column whose base type has this OID; null: text and a
// cast.
const char* plain_type(uint32_t base_oid);

// SQL that needs `needs` can not be evaluated: a value is absent.
bool any_absent(const std::vector<bool>& needs, const Present& present);
std::string join(const std::vector<std::string>& parts, const char* separator);

}  // namespace millrace::postgres
