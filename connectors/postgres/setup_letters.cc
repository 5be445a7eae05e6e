// Setup, the part that parked rows need: table parked and a column of applied; and the journal,
// which setup_history.cc makes.
#include "connectors/postgres/setup.h"

namespace millrace::postgres {
namespace {

constexpr const char* kParkedTable =
    "CREATE TABLE IF NOT EXISTS millrace.parked (\n"
    "  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n"
    "  pipeline text NOT NULL,\n"
    "  source_table text NOT NULL,\n"
    "  key_columns text NOT NULL,\n"
    "  key bytea NOT NULL,\n"
    "  old_key bytea,\n"
    "  key_json text NOT NULL,\n"
    "  operation text NOT NULL,\n"
    "  version bytea NOT NULL,\n"
    "  timeline bigint NOT NULL,\n"
    "  failed boolean NOT NULL,\n"
    "  error text NOT NULL,\n"
    "  attempts bigint NOT NULL,\n"
    "  parked_at timestamptz NOT NULL DEFAULT clock_timestamp(),\n"
    "  shape bytea NOT NULL,\n"
    "  change bytea NOT NULL\n"
    ")";

// Hashes: a key may be longer than an entry of a B-tree.
constexpr const char* kKeyIndex =
    "CREATE INDEX IF NOT EXISTS parked_key ON millrace.parked USING hash (key)";
constexpr const char* kOldKeyIndex =
    "CREATE INDEX IF NOT EXISTS parked_old_key ON millrace.parked USING hash (old_key) WHERE "
    "old_key IS NOT NULL";

constexpr const char* kEditsColumn =
    "ALTER TABLE millrace.applied ADD COLUMN IF NOT EXISTS parked_edits bigint NOT NULL DEFAULT 0";

struct Found {
  bool applied = false, parked = false, journal = false, edits = false, allowed = false;
};

Result<Found> look(Connection& connection) {
  const Reply reply = connection.run(
      "SELECT a IS NOT NULL, p IS NOT NULL, j IS NOT NULL, EXISTS (SELECT 1 FROM pg_attribute "
      "WHERE attrelid = a AND attname = 'parked_edits' AND NOT attisdropped), "
      "coalesce(has_table_privilege(p, 'SELECT') AND has_table_privilege(p, 'INSERT') AND "
      "has_table_privilege(p, 'UPDATE') AND has_table_privilege(p, 'DELETE'), false) FROM (SELECT "
      "to_regclass('millrace.applied') AS a, to_regclass('millrace.parked') AS p, "
      "to_regclass('millrace.journal') AS j) AS t");
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's catalog"));
  const auto is = [&reply](int column) { return reply.text(0, column) == "t"; };
  return Found{is(0), is(1), is(2), is(3), is(4)};
}

}  // namespace

Result<std::vector<std::string>> setup_letters_sql(Connection& connection) {
  TRY_ASSIGN(const Found found, look(connection));
  std::vector<std::string> sql;
  if (!found.parked) {
    for (const char* statement : {kParkedTable, kKeyIndex, kOldKeyIndex}) {
      sql.emplace_back(statement);
    }
  }
  if (!found.edits) sql.emplace_back(kEditsColumn);
  return sql;
}

// Before set-up nothing of ours is there, and that is no fault.
Status check_letters(Connection& connection, std::vector<Error>& findings) {
  TRY_ASSIGN(const Found found, look(connection));
  if (!found.applied) return {};
  if (!found.parked || !found.journal || !found.edits) {
    findings.emplace_back(ErrorCode::negative,
                          "the target has no table for parked rows (millrace.parked), which "
                          "target.on_bad_row: park needs",
                          "millrace setup");
  } else if (!found.allowed) {
    findings.emplace_back(
        ErrorCode::negative,
        "the target's role " + connection.role() +
            " may not write millrace.parked, the table of parked rows",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON millrace.parked TO " + connection.role());
  }
  return {};
}

}  // namespace millrace::postgres
