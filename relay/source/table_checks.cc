// The part of checks.h that looks at tables.
#include <set>

#include <fmt/format.h>

#include "relay/source/checks.h"

namespace millrace::source {
namespace {

class Findings {
 public:
  explicit Findings(std::vector<Finding>& out) : out_(out) {}
  void blocker(std::string message, std::string hint) {
    out_.push_back({true, Error(ErrorCode::negative, std::move(message), std::move(hint))});
  }
  void note(std::string message, std::string hint) {
    out_.push_back({false, Error(ErrorCode::negative, std::move(message), std::move(hint))});
  }

 private:
  std::vector<Finding>& out_;
};

std::string_view kind_name(char kind) {
  switch (kind) {
    case 'v':
      return "a view";
    case 'm':
      return "a materialized view";
    case 'f':
      return "a foreign table";
    case 'S':
      return "a sequence";
    default:
      return "not a table";
  }
}

void check_identity(const SourceTable& table, const std::string& shown, Findings& out) {
  const ReplicaIdentity identity = table.schema->identity;
  if (table.lost_identity_index) {
    out.blocker(fmt::format("table {}: the index of its REPLICA IDENTITY is gone", shown),
                fmt::format("ALTER TABLE {} REPLICA IDENTITY DEFAULT (or USING INDEX …)", shown));
    return;
  }
  if (!table.odd_partitions.empty() && table.schema->has_key()) {
    out.blocker(
        fmt::format("table {}: the REPLICA IDENTITY of partition {} is not its root's ({} such)",
                    shown, display_name(table.odd_partitions.front()), table.odd_partitions.size()),
        fmt::format("ALTER TABLE {} REPLICA IDENTITY FULL, or the root's own identity",
                    display_name(table.odd_partitions.front())));
  }
  if (table.schema->has_key()) return;
  if (identity == ReplicaIdentity::full) {
    out.note(
        fmt::format("table {} has no primary key: with REPLICA IDENTITY FULL one whole row is "
                    "matched for each update and delete",
                    shown),
        fmt::format("a primary key makes this fast: ALTER TABLE {} ADD PRIMARY KEY (…)", shown));
  } else {
    out.note(
        fmt::format("table {} has no replica identity: it is carried append-only, and Postgres "
                    "refuses UPDATE and DELETE on it once it is published",
                    shown),
        fmt::format("ALTER TABLE {0} ADD PRIMARY KEY (…), or ALTER TABLE {0} REPLICA IDENTITY FULL",
                    shown));
  }
}

void check_privileges(const SourceTable& table, const std::string& shown, const std::string& role,
                      Findings& out) {
  if (!table.can_select) {
    out.blocker(fmt::format("table {}: role {} may not read it", shown, role),
                fmt::format("GRANT USAGE ON SCHEMA {0} TO {2}; GRANT SELECT ON {1} TO {2}",
                            quote_if_needed(table.schema->schema), shown, role));
  }
  if (table.hides_rows) {
    out.note(fmt::format("table {}: row-level security applies to role {}, so that its history can "
                         "not be read",
                         shown, role),
             fmt::format("ALTER ROLE {} BYPASSRLS", role));
  }
}

}  // namespace

std::vector<Finding> check_tables(const Selection& selection, const std::string& role) {
  std::vector<Finding> findings;
  Findings out(findings);
  for (const TableSelector& selector : selection.missing) {
    if (selector.is_pattern) {
      out.note(
          fmt::format("pattern {}.{} matches no table", selector.name.schema, selector.name.name),
          "");
    } else {
      out.blocker(fmt::format("table {} does not exist on the source", display_name(selector.name)),
                  "check its schema and spelling; names are written as SQL writes them");
    }
  }
  std::set<TableName> selected;
  for (const SourceTable& table : selection.tables) selected.insert(table.name());
  for (const SourceTable& table : selection.tables) {
    const std::string shown = display_name(table.name());
    if (!table.is_table()) {
      out.blocker(fmt::format("{} is {}", shown, kind_name(table.kind)), "name a table");
      continue;
    }
    if (!table.is_logged) {
      out.blocker(fmt::format("table {} is not logged: its changes are not in the WAL", shown),
                  fmt::format("ALTER TABLE {} SET LOGGED", shown));
    }
    for (const TableName& ancestor : table.ancestors) {
      if (!selected.contains(ancestor)) continue;
      out.blocker(fmt::format("table {} is named beside its root {}, under which its rows come",
                              shown, display_name(ancestor)),
                  "name the root or the partitions, not both");
    }
    check_privileges(table, shown, quote_if_needed(role), out);
    check_identity(table, shown, out);
  }
  return findings;
}

}  // namespace millrace::source
