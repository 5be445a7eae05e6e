#include "relay/source/checks.h"

#include <iterator>

#include <fmt/format.h>

namespace millrace::source {
namespace {

constexpr int kOldestVersion = 130000;

Finding blocker(std::string message, std::string hint) {
  return {true, Error(ErrorCode::negative, std::move(message), std::move(hint))};
}

Finding note(std::string message, std::string hint) {
  return {false, Error(ErrorCode::negative, std::move(message), std::move(hint))};
}

void append(std::vector<Finding>& out, std::vector<Finding> more) {
  out.insert(out.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

}  // namespace

std::vector<Finding> check_server(const ServerFacts& facts, bool slot_exists) {
  std::vector<Finding> out;
  if (facts.version < kOldestVersion) {
    out.push_back(blocker(fmt::format("the source is Postgres {}", facts.version_text),
                          "13 is the oldest that can publish partitioned tables by their root"));
  }
  if (facts.is_in_recovery) {
    out.push_back(blocker("the source is a standby", "name the primary in source.dsn"));
  }
  if (facts.wal_level != "logical") {
    out.push_back(blocker(fmt::format("wal_level is {}", facts.wal_level),
                          "ALTER SYSTEM SET wal_level = 'logical'; then restart the source"));
  }
  if (!facts.may_replicate) {
    out.push_back(blocker(fmt::format("role {} lacks REPLICATION", facts.role),
                          fmt::format("ALTER ROLE {} REPLICATION", quote_if_needed(facts.role))));
  }
  if (!slot_exists && facts.used_replication_slots >= facts.max_replication_slots) {
    out.push_back(
        blocker(fmt::format("all {} replication slots are in use", facts.max_replication_slots),
                "drop one that nobody reads (pg_replication_slots), or ALTER SYSTEM SET "
                "max_replication_slots = …; then restart the source"));
  }
  if (facts.max_wal_senders == 0) {
    out.push_back(blocker("max_wal_senders is 0",
                          "ALTER SYSTEM SET max_wal_senders = 10; then restart the source"));
  }
  if (facts.encoding == "SQL_ASCII") {
    out.push_back(
        note("the source's encoding is SQL_ASCII, so that its text may be of any encoding",
             "a row that is not UTF-8 will stop the pipeline"));
  }
  if (facts.max_slot_wal_keep_size_mb < 0) {
    out.push_back(
        note("max_slot_wal_keep_size is -1: a slot that nobody reads can fill the disk",
             "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB' bounds it, at the price of "
             "losing the slot"));
  }
  return out;
}

std::vector<Finding> check_slot(const SlotInfo& slot, const std::string& database) {
  std::vector<Finding> out;
  const std::string another =
      "name another one in source.slot, or drop this one if nobody needs it: SELECT "
      "pg_drop_replication_slot('" +
      slot.name + "')";
  if (slot.plugin != "pgoutput") {
    out.push_back(
        blocker(fmt::format("slot {} is {}", slot.name,
                            slot.plugin.empty() ? "a physical one" : "of plugin " + slot.plugin),
                another));
  } else if (slot.database != database) {
    out.push_back(
        blocker(fmt::format("slot {} belongs to database {}", slot.name, slot.database), another));
  }
  if (slot.is_temporary) {
    out.push_back(blocker(fmt::format("slot {} is temporary", slot.name), another));
  }
  if (slot.is_two_phase) {
    out.push_back(
        blocker(fmt::format("slot {} decodes at PREPARE (two_phase)", slot.name), another));
  }
  if (slot.is_lost()) {
    out.push_back(blocker(
        fmt::format("slot {} is lost: the source has removed WAL that it needed{}", slot.name,
                    slot.invalidation_reason.empty() ? "" : " (" + slot.invalidation_reason + ")"),
        "changes are missing; start again from a fresh copy: millrace teardown, then millrace "
        "setup"));
  } else if (slot.wal_status == "unreserved") {
    out.push_back(
        note(fmt::format("slot {} is about to lose WAL at the next checkpoint", slot.name),
             "read it now, or raise max_slot_wal_keep_size"));
  }
  if (slot.active) {
    out.push_back(note(fmt::format("slot {} is read by process {}", slot.name, slot.active_pid),
                       "only one instance can read it"));
  }
  return out;
}

std::vector<Finding> check_publication(const std::optional<Publication>& publication,
                                       const std::string& name, const Selection& selection,
                                       const ServerFacts& facts) {
  std::vector<TableName> wanted;
  bool owns_all = true;
  for (const SourceTable& table : selection.tables) {
    if (!table.is_table()) continue;
    wanted.push_back(table.name());
    owns_all = owns_all && table.is_ours;
  }
  std::vector<Finding> out;
  const auto missing = [&](bool may, std::string what, const std::string& sql) {
    out.push_back(may ? note(std::move(what), "`millrace setup` runs: " + sql)
                      : blocker(std::move(what), "let the tables' owner run: " + sql));
  };
  if (!publication) {
    missing(owns_all && facts.may_create_in_database,
            fmt::format("publication {} does not exist", name),
            create_publication_sql(name, wanted));
    return out;
  }
  for (const std::string& sql : alter_publication_sql(*publication, wanted, false)) {
    missing(publication->is_ours && (owns_all || facts.is_superuser),
            fmt::format("publication {} does not publish all that the config names", name), sql);
  }
  for (const TableName& table : wanted) {
    const PublishedTable* published = publication->find(table);
    if (published != nullptr && !published->row_filter.empty()) {
      out.push_back(note(fmt::format("publication {} filters {}: {}", name, display_name(table),
                                     published->row_filter),
                         "rows outside the filter do not reach the target"));
    }
  }
  return out;
}

Result<std::vector<Finding>> check_source(Catalog& catalog, const Options& options,
                                          std::span<const TableSelector> tables) {
  TRY_ASSIGN(const ServerFacts facts, catalog.server());
  std::vector<Finding> out;
  const auto found = catalog.slot(options.slot);
  if (!found && !facts.is_in_recovery) return fail(found.error());  // a standby is a finding
  const std::optional<SlotInfo> slot = found ? *found : std::nullopt;
  append(out, check_server(facts, slot.has_value()));
  if (slot) append(out, check_slot(*slot, facts.database));
  if (options.streaming && facts.version < kOldestStreamingVersion) {
    out.push_back(
        blocker(fmt::format("source.streaming: on needs Postgres 14 or later; the source is {}",
                            facts.version_text),
                "set source.streaming: off"));
  }
  TRY_ASSIGN(const Selection selection, catalog.tables(tables));
  append(out, check_tables(selection, facts.role));
  TRY_ASSIGN(const auto publication, catalog.publication(options.publication));
  append(out, check_publication(publication, options.publication, selection, facts));
  return out;
}

}  // namespace millrace::source
