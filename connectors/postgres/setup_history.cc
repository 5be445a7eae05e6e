// Setup, the part that copying history and verifying need: tables progress, tombstone and proof;
// and the journal.
#include <array>
#include <utility>

#include "connectors/postgres/setup.h"

namespace millrace::postgres {
namespace {

constexpr const char* kProgressTable =
    "CREATE TABLE IF NOT EXISTS millrace.progress (\n"
    "  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n"
    "  pipeline text NOT NULL,\n"
    "  source_table text NOT NULL,\n"
    "  kind text NOT NULL,\n"
    "  state text NOT NULL,\n"
    "  why text NOT NULL,\n"
    "  condition text NOT NULL,\n"
    "  after_key text[],\n"
    "  until_key text[],\n"
    "  keys text[],\n"
    "  key_columns integer NOT NULL,\n"
    "  replace boolean NOT NULL,\n"
    "  delete_extra boolean NOT NULL,\n"
    "  floor pg_lsn NOT NULL,\n"
    "  done_to text[],\n"
    "  restarts bigint NOT NULL DEFAULT 0,\n"
    "  rows_done bigint NOT NULL DEFAULT 0,\n"
    "  rows_estimated bigint,\n"
    "  consistent_at pg_lsn NOT NULL DEFAULT '0/0',\n"
    "  who text NOT NULL,\n"
    "  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),\n"
    "  started_at timestamptz,\n"
    "  ended_at timestamptz\n"
    ")";

// One open job a table.
constexpr const char* kProgressIndex =
    "CREATE UNIQUE INDEX IF NOT EXISTS progress_open ON millrace.progress (pipeline, source_table) "
    "WHERE state IN ('waiting', 'running', 'paused')";

constexpr const char* kTombstoneTable =
    "CREATE TABLE IF NOT EXISTS millrace.tombstone (\n"
    "  pipeline text NOT NULL,\n"
    "  source_table text NOT NULL,\n"
    "  digest bigint NOT NULL,\n"
    "  key text[] NOT NULL,\n"
    "  version bytea NOT NULL\n"
    ")";

// A digest: a key may be longer than an entry of a B-tree.
constexpr const char* kTombstoneIndex =
    "CREATE INDEX IF NOT EXISTS tombstone_key ON millrace.tombstone (pipeline, source_table, "
    "digest)";

constexpr const char* kJournalTable =
    "CREATE TABLE IF NOT EXISTS millrace.journal (\n"
    "  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n"
    "  at timestamptz NOT NULL DEFAULT clock_timestamp(),\n"
    "  pipeline text NOT NULL,\n"
    "  who text NOT NULL,\n"
    "  what text NOT NULL\n"
    ")";

constexpr const char* kProofTable =
    "CREATE TABLE IF NOT EXISTS millrace.proof (\n"
    "  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n"
    "  pipeline text NOT NULL,\n"
    "  kind text NOT NULL,\n"
    "  subject text NOT NULL,\n"
    "  scope text NOT NULL,\n"
    "  verdict text NOT NULL,\n"
    "  why text NOT NULL,\n"
    "  epoch bigint NOT NULL,\n"
    "  timeline bigint NOT NULL,\n"
    "  from_lsn pg_lsn NOT NULL,\n"
    "  to_lsn pg_lsn NOT NULL,\n"
    "  config_hash text NOT NULL,\n"
    "  compared bigint NOT NULL,\n"
    "  equal bigint NOT NULL,\n"
    "  missing bigint NOT NULL,\n"
    "  extra bigint NOT NULL,\n"
    "  different bigint NOT NULL,\n"
    "  unresolved bigint NOT NULL,\n"
    "  who text NOT NULL,\n"
    "  started_at timestamptz NOT NULL,\n"
    "  ended_at timestamptz NOT NULL\n"
    ")";

constexpr const char* kProofIndex =
    "CREATE INDEX IF NOT EXISTS proof_subject ON millrace.proof (pipeline, subject, kind, id)";

struct Need {
  const char* name;
  const char* table;
  const char* index;       // may be null
  const char* privileges;  // beside SELECT and INSERT
  const char* what;        // needs it
};

constexpr std::array<Need, 4> kNeeds = {{
    {"progress", kProgressTable, kProgressIndex, "UPDATE", "copying history"},
    {"tombstone", kTombstoneTable, kTombstoneIndex, "DELETE", "copying history"},
    {"journal", kJournalTable, nullptr, "INSERT", "copying history"},
    {"proof", kProofTable, kProofIndex, "DELETE", "the history of verify"},
}};

struct Found {
  bool there = false, indexed = false, allowed = false;
};

Result<Found> look(Connection& connection, const Need& need) {
  const std::string name = std::string("millrace.") + need.name;
  const Reply reply = connection.run(
      "SELECT c IS NOT NULL, EXISTS (SELECT 1 FROM pg_index WHERE indrelid = c AND indexrelid <> "
      "coalesce((SELECT conindid FROM pg_constraint WHERE conrelid = c AND contype = 'p'), 0)), "
      "coalesce(has_table_privilege(c, 'SELECT') AND has_table_privilege(c, 'INSERT') AND "
      "has_table_privilege(c, $2::text), false) FROM (SELECT to_regclass($1::text) AS c) AS t",
      {name, need.privileges});
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's catalog"));
  const auto is = [&reply](int column) { return reply.text(0, column) == "t"; };
  return Found{is(0), is(1), is(2)};
}

}  // namespace

Result<std::vector<std::string>> setup_history_sql(Connection& connection) {
  std::vector<std::string> sql;
  for (const Need& need : kNeeds) {
    TRY_ASSIGN(const Found found, look(connection, need));
    if (!found.there) sql.emplace_back(need.table);
    if (need.index != nullptr && !found.indexed) sql.emplace_back(need.index);
  }
  return sql;
}

// Before set-up nothing of ours is there, and that is no fault.
Status check_history(Connection& connection, std::vector<Error>& findings) {
  const Reply reply = connection.run("SELECT to_regclass('millrace.applied') IS NOT NULL");
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's catalog"));
  if (reply.text(0, 0) == "f") return {};
  for (const Need& need : kNeeds) {
    TRY_ASSIGN(const Found found, look(connection, need));
    const std::string name = std::string("millrace.") + need.name;
    if (!found.there || (need.index != nullptr && !found.indexed)) {
      findings.emplace_back(ErrorCode::negative,
                            "the target has no table " + name +
                                (found.there ? " with its index" : "") + ", which " + need.what +
                                " needs",
                            "millrace setup");
    } else if (!found.allowed) {
      findings.emplace_back(
          ErrorCode::negative, "the target's role " + connection.role() + " may not write " + name,
          "GRANT SELECT, INSERT, UPDATE, DELETE ON " + name + " TO " + connection.role());
    }
  }
  return {};
}

}  // namespace millrace::postgres
