#include "relay/source/checks.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::source;

namespace {

ServerFacts good_server() {
  ServerFacts facts;
  facts.version = 150020;
  facts.version_text = "15.20";
  facts.role = "relay";
  facts.encoding = "UTF8";
  facts.wal_level = "logical";
  facts.max_replication_slots = 10;
  facts.max_wal_senders = 10;
  facts.max_slot_wal_keep_size_mb = 1024;
  facts.may_replicate = true;
  facts.may_create_in_database = true;
  return facts;
}

SlotInfo good_slot() {
  SlotInfo slot;
  slot.name = "s";
  slot.plugin = "pgoutput";
  slot.database = "shop";
  slot.wal_status = "reserved";
  return slot;
}

SourceTable good_table(const std::string& name) {
  TableSchema schema;
  schema.schema = "public";
  schema.name = name;
  schema.columns = {{"id", 23, -1, "", "", true}};
  SourceTable table;
  table.schema = seal_schema(std::move(schema));
  table.has_primary_key = table.can_select = table.is_ours = true;
  return table;
}

bool blocks(const std::vector<Finding>& findings, std::string_view text) {
  return std::any_of(findings.begin(), findings.end(), [&](const Finding& f) {
    return f.blocker && f.error.describe().find(text) != std::string::npos;
  });
}
bool notes(const std::vector<Finding>& findings, std::string_view text) {
  return std::any_of(findings.begin(), findings.end(), [&](const Finding& f) {
    return !f.blocker && f.error.describe().find(text) != std::string::npos;
  });
}

}  // namespace

TEST_CASE("check_server: a good one has no findings") {
  CHECK(check_server(good_server(), false).empty());
}

TEST_CASE("check_server: every blocker is named, with its remedy") {
  ServerFacts facts;
  facts.version = 120010;
  facts.version_text = "12.10";
  facts.role = "Odd role";
  facts.wal_level = "replica";
  facts.is_in_recovery = true;
  facts.encoding = "SQL_ASCII";
  const auto findings = check_server(facts, false);
  CHECK(blocks(findings, "Postgres 12.10"));
  CHECK(blocks(findings, "standby"));
  CHECK(blocks(findings, "ALTER SYSTEM SET wal_level = 'logical'"));
  CHECK(blocks(findings, "ALTER ROLE \"Odd role\" REPLICATION"));
  CHECK(blocks(findings, "all 0 replication slots are in use"));
  CHECK(blocks(findings, "max_wal_senders"));
  CHECK(notes(findings, "SQL_ASCII"));
  CHECK(notes(findings, "max_slot_wal_keep_size"));
}

TEST_CASE("check_server: a slot that is ours already needs no free one") {
  ServerFacts facts = good_server();
  facts.used_replication_slots = facts.max_replication_slots;
  CHECK(blocks(check_server(facts, false), "slots are in use"));
  CHECK(check_server(facts, true).empty());
}

TEST_CASE("check_slot: what is not ours or is lost blocks") {
  CHECK(check_slot(good_slot(), "shop").empty());
  SlotInfo slot = good_slot();
  slot.plugin = "wal2json";
  CHECK(blocks(check_slot(slot, "shop"), "plugin wal2json"));
  slot.plugin = "";
  CHECK(blocks(check_slot(slot, "shop"), "physical"));
  CHECK(blocks(check_slot(good_slot(), "other"), "belongs to database shop"));
  slot = good_slot();
  slot.is_two_phase = slot.is_temporary = true;
  CHECK(blocks(check_slot(slot, "shop"), "two_phase"));
  CHECK(blocks(check_slot(slot, "shop"), "temporary"));
  slot = good_slot();
  slot.wal_status = "lost";
  CHECK(blocks(check_slot(slot, "shop"), "is lost"));
  slot = good_slot();
  slot.invalidation_reason = "idle_timeout";
  CHECK(blocks(check_slot(slot, "shop"), "idle_timeout"));
  slot = good_slot();
  slot.wal_status = "unreserved";
  slot.active = true;
  slot.active_pid = 42;
  CHECK(notes(check_slot(slot, "shop"), "next checkpoint"));
  CHECK(notes(check_slot(slot, "shop"), "process 42"));
}

TEST_CASE("check_publication: a missing one is a note for an owner and a blocker for others") {
  Selection selection;
  selection.tables = {good_table("a")};
  ServerFacts facts = good_server();
  CHECK(notes(check_publication(std::nullopt, "pub", selection, facts),
              "`millrace setup` runs: CREATE PUBLICATION"));
  facts.may_create_in_database = false;
  CHECK(blocks(check_publication(std::nullopt, "pub", selection, facts), "CREATE PUBLICATION"));
  facts.may_create_in_database = true;
  selection.tables[0].is_ours = false;
  CHECK(blocks(check_publication(std::nullopt, "pub", selection, facts), "CREATE PUBLICATION"));
}

TEST_CASE("check_publication: one that leaves kinds of change out, or filters") {
  Selection selection;
  selection.tables = {good_table("a")};
  Publication publication;
  publication.name = "pub";
  publication.inserts = publication.via_partition_root = true;
  publication.tables = {{{"public", "a"}, "(id > 5)", {}}};
  const auto findings = check_publication(publication, "pub", selection, good_server());
  CHECK(blocks(findings, "SET (publish ="));
  CHECK(notes(findings, "filters public.a: (id > 5)"));
}

TEST_CASE("check_tables: no identity is a note, whatever its reason") {
  Selection selection;
  SourceTable table = good_table("a");
  TableSchema schema = *table.schema;
  schema.columns[0].in_key = false;
  table.schema = seal_schema(schema);
  selection.tables = {table};
  CHECK(notes(check_tables(selection, "relay"), "append-only"));
  schema.identity = ReplicaIdentity::full;
  selection.tables[0].schema = seal_schema(schema);
  CHECK(notes(check_tables(selection, "relay"), "one whole row"));
  selection.tables[0].hides_rows = true;
  CHECK(notes(check_tables(selection, "relay"), "ALTER ROLE relay BYPASSRLS"));
}
