// Catalog: what the source says about itself, its tables, publications and slots, over ordinary
// SQL.
//
// Reads need CONNECT only (pg_catalog is open to everyone); what changes something says so below.
// A lost connection fails one call with a retryable error; the next call connects again.
// One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "relay/base/clock.h"
#include "relay/base/ids.h"
#include "relay/base/result.h"
#include "relay/event/table_schema.h"
#include "relay/source/connection.h"
#include "relay/source/options.h"
#include "relay/source/publication.h"
#include "relay/source/slot_source.h"

namespace millrace::source {

struct ServerFacts {
  int version = 0;  // 150020
  std::string version_text;
  std::string system_identifier;
  std::string database;
  std::string role;
  std::string encoding;
  std::string wal_level;
  int max_replication_slots = 0;
  int used_replication_slots = 0;
  int max_wal_senders = 0;
  Millis wal_sender_timeout{0};            // 0: none
  int64_t max_slot_wal_keep_size_mb = -1;  // -1: no limit
  bool may_replicate = false;              // REPLICATION, superuser or a provider's stand-in for it
  bool is_superuser = false;
  bool may_create_in_database = false;  // CREATE on the database: publications
  bool is_in_recovery = false;
  Lsn flush_lsn;   // durable end of WAL (a standby: replayed)
  Lsn insert_lsn;  // end of WAL that transactions have written (a standby: replayed)
};

// A table by its name, or every table whose schema and name match two globs (* and ?).
struct TableSelector {
  TableName name;
  bool is_pattern = false;
};

struct SourceTable {
  // Columns in attribute order without dropped and generated ones; in_key as the stream will have
  // it after the decoder: the replica identity's key, for FULL the primary key.
  TableSchemaPtr schema;
  char kind = 'r';               // pg_class.relkind
  bool has_primary_key = false;  // one that is not deferrable
  bool is_partitioned = false;   // a root or a branch: published under this name, with its leaves
  bool is_logged = true;         // UNLOGGED and temporary tables are not in the WAL
  bool can_select = false;       // with USAGE on the schema
  bool is_ours = false;          // the role may publish it
  bool hides_rows = false;       // row-level security applies to the role
  bool lost_identity_index = false;  // REPLICA IDENTITY USING INDEX, and the index is gone
  std::vector<TableName> ancestors;  // partitioned tables above this one, nearest first
  // Partitions whose replica identity does not carry this table's key.
  std::vector<TableName> odd_partitions;

  TableName name() const { return {schema->schema, schema->name}; }
  bool is_table() const { return kind == 'r' || kind == 'p'; }
};

struct Selection {
  std::vector<SourceTable> tables;     // each once, by schema and name
  std::vector<TableSelector> missing;  // that matched nothing
};

struct SlotInfo {
  std::string name;
  std::string plugin;  // empty for a physical slot
  std::string database;
  bool is_temporary = false;
  bool is_two_phase = false;
  bool is_failover = false;
  bool active = false;
  int active_pid = 0;
  Lsn restart_lsn;  // 0/0 once it was invalidated
  Lsn confirmed_flush_lsn;
  std::string wal_status;                // reserved | extended | unreserved | lost
  std::optional<int64_t> safe_wal_size;  // bytes that may still be written; nullopt: no limit
  std::string invalidation_reason;       // Postgres 17 and later
  uint64_t retained_bytes = 0;           // WAL that this slot holds back

  bool is_lost() const { return wal_status == "lost" || !invalidation_reason.empty(); }
};

class Catalog final : public SlotCatalog {
 public:
  explicit Catalog(Options options) : options_(std::move(options)) {}

  // Opens the connection where there is none, or a lost one; every other call does so too.
  Status connect() override;

  Result<ServerFacts> server();
  Result<Lsn> flush_lsn();

  // Partitions that only a pattern selected are left out when their root is selected too.
  Result<Selection> tables(std::span<const TableSelector> selectors);
  // Empty: none, or a deferrable one, which is no identity. In the key's order.
  Result<std::vector<std::string>> primary_key(const std::string& schema,
                                               const std::string& table) override;

  Result<std::optional<Publication>> publication(const std::string& name);
  // Creates or completes it (alter_publication_sql); `print` set: runs nothing, appends the SQL.
  // Needs ownership of tables and publication, and CREATE on the database. Errors: bad_data with
  // the exact SQL to run when the role may not.
  Status ensure_publication(const std::string& name, std::span<const TableName> tables,
                            bool remove_others, std::string* print);
  Status drop_publication(const std::string& name);

  // Logical and physical ones. Errors: retryable when there is none and the server is a standby.
  Result<std::optional<SlotInfo>> slot(const std::string& name) override;
  // Nothing happens when there is none. Needs REPLICATION. Errors: refused when it is in use.
  Status drop_slot(const std::string& name);

  // Writes a logical message into the WAL; returns the end of its record. One that is not
  // transactional is not flushed yet then (it will be within a second).
  Result<Lsn> emit_message(std::string_view prefix, std::string_view content, bool transactional);

 private:
  struct Shape {
    TableSchema schema;
    std::vector<int> key;  // attribute numbers
  };
  Status select(const std::string& where, const std::string& schemas, const std::string& names,
                std::vector<SourceTable>& out);
  Status read_columns(std::span<Shape> shapes);
  Status read_publication_tables(Publication& publication);
  Status slot_could_be_here(const std::string& name);
  Status run_publication_sql(std::string_view doing, std::span<const std::string> statements);
  Result<Rows> query(std::string_view doing, const std::string& sql,
                     std::initializer_list<Parameter> parameters = {});

  Options options_;
  std::optional<Connection> connection_;
};

}  // namespace millrace::source
