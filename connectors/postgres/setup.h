// Setup: the SQL that gives a target what Millrace needs, the check that finds what is missing, and
// the SQL that takes it all away. Each function looks at the target and runs nothing that changes
// it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "connectors/postgres/connection.h"
#include "connectors/postgres/known_tables.h"
#include "relay/event/table_schema.h"

namespace millrace::postgres {

// A statement of set-up or teardown.
struct SetupStep {
  std::string sql;
  // What lets the role run it; empty: the statement itself, by a role that may.
  std::string grant = "";
};

// In order; empty when all is there. Errors: bad_data when a table that is to be created can not
// be.
Result<std::vector<SetupStep>> setup_steps(Connection& connection, const Options& options,
                                           KnownTables& known,
                                           std::span<const TableSchemaPtr> source_tables);

// REQUIRES: no transaction is open.
Result<std::vector<Error>> check_tables(Connection& connection, const Options& options,
                                        KnownTables& known,
                                        std::span<const TableSchemaPtr> source_tables);

// What parking rows needs beside the schema and `applied`; empty when all is there.
Result<std::vector<std::string>> setup_letters_sql(Connection& connection);
Status check_letters(Connection& connection, std::vector<Error>& findings);

// What copying history needs, and the journal.
Result<std::vector<std::string>> setup_history_sql(Connection& connection);
Status check_history(Connection& connection, std::vector<Error>& findings);

// The schema goes with the last pipeline.
Result<std::vector<SetupStep>> teardown_steps(Connection& connection, const Options& options);

}  // namespace millrace::postgres
