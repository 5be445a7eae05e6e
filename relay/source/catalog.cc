#include "relay/source/catalog.h"

#include <fmt/format.h>

namespace millrace::source {
namespace {

constexpr const char* kEndOfWal =
    "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() "
    "END";

std::string joined(std::span<const std::string> statements) {
  std::string out;
  for (const std::string& statement : statements) out += statement + ";\n";
  return out;
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace

Status Catalog::connect() {
  if (connection_ && connection_->is_open()) return {};
  connection_.reset();
  TRY_ASSIGN(connection_, Connection::open(options_));
  return {};
}

Result<Rows> Catalog::query(std::string_view doing, const std::string& sql,
                            std::initializer_list<Parameter> parameters) {
  TRY(connect());
  return connection_->query(doing, sql, parameters);
}

Result<ServerFacts> Catalog::server() {
  TRY_ASSIGN(const Rows rows, query("read the server's settings", fmt::format(R"(
    SELECT current_setting('server_version_num'), current_setting('server_version'),
           (SELECT system_identifier FROM pg_control_system()), current_database(), current_user,
           pg_encoding_to_char(d.encoding), current_setting('wal_level'),
           current_setting('max_replication_slots'), (SELECT count(*) FROM pg_replication_slots),
           current_setting('max_wal_senders'),
           (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'),
           (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
           r.rolreplication OR r.rolsuper OR EXISTS (
             SELECT FROM pg_roles p WHERE p.rolname = 'rds_replication'
                                      AND pg_has_role(current_user, p.oid, 'MEMBER')),
           r.rolsuper, has_database_privilege(d.oid, 'CREATE'), pg_is_in_recovery(), {0},
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                ELSE pg_current_wal_insert_lsn() END
    FROM pg_database d, pg_roles r
    WHERE d.datname = current_database() AND r.rolname = current_user)",
                                                                              kEndOfWal)));
  if (rows.count() != 1) return fail(ErrorCode::fatal, "read the server's settings: no row");
  ServerFacts facts;
  facts.version = static_cast<int>(rows.integer(0, 0));
  facts.version_text = rows.string(0, 1);
  facts.system_identifier = rows.string(0, 2);
  facts.database = rows.string(0, 3);
  facts.role = rows.string(0, 4);
  facts.encoding = rows.string(0, 5);
  facts.wal_level = rows.string(0, 6);
  facts.max_replication_slots = static_cast<int>(rows.integer(0, 7));
  facts.used_replication_slots = static_cast<int>(rows.integer(0, 8));
  facts.max_wal_senders = static_cast<int>(rows.integer(0, 9));
  facts.wal_sender_timeout = Millis(rows.integer(0, 10));
  facts.max_slot_wal_keep_size_mb = rows.integer(0, 11);
  facts.may_replicate = rows.boolean(0, 12);
  facts.is_superuser = rows.boolean(0, 13);
  facts.may_create_in_database = rows.boolean(0, 14);
  facts.is_in_recovery = rows.boolean(0, 15);
  facts.flush_lsn = rows.lsn(0, 16);
  facts.insert_lsn = rows.lsn(0, 17);
  return facts;
}

Result<Lsn> Catalog::flush_lsn() {
  TRY_ASSIGN(const Rows rows, query("read the end of WAL", fmt::format("SELECT {}", kEndOfWal)));
  return rows.lsn(0, 0);
}

Result<std::optional<Publication>> Catalog::publication(const std::string& name) {
  TRY_ASSIGN(const Rows rows, query("read the publication", R"(
    SELECT puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot,
           pg_has_role(current_user, pubowner, 'USAGE')
    FROM pg_publication WHERE pubname = $1)",
                                    {name}));
  if (rows.count() == 0) return std::nullopt;
  Publication publication;
  publication.name = name;
  publication.all_tables = rows.boolean(0, 0);
  publication.inserts = rows.boolean(0, 1);
  publication.updates = rows.boolean(0, 2);
  publication.deletes = rows.boolean(0, 3);
  publication.truncates = rows.boolean(0, 4);
  publication.via_partition_root = rows.boolean(0, 5);
  publication.is_ours = rows.boolean(0, 6);
  TRY(read_publication_tables(publication));
  return publication;
}

Status Catalog::read_publication_tables(Publication& publication) {
  // Row filters and column lists came with Postgres 15.
  const bool restricts = connection_->server_version() >= 150000;
  TRY_ASSIGN(
      const Rows tables,
      query("read the publication's tables",
            fmt::format("SELECT schemaname, tablename, {} FROM pg_publication_tables "
                        "WHERE pubname = $1 ORDER BY 1, 2",
                        restricts ? "rowfilter, array_to_string(attnames, E'\\n')" : "NULL, NULL"),
            {publication.name}));
  for (int i = 0; i < tables.count(); ++i) {
    publication.tables.push_back({{tables.string(i, 0), tables.string(i, 1)},
                                  tables.string(i, 2),
                                  split_lines(tables.text(i, 3))});
  }
  TRY_ASSIGN(const Rows listed, query("read the publication's tables", R"(
    SELECT n.nspname, c.relname
    FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
    JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE p.pubname = $1 ORDER BY 1, 2)",
                                      {publication.name}));
  for (int i = 0; i < listed.count(); ++i) {
    publication.listed.push_back({listed.string(i, 0), listed.string(i, 1)});
  }
  return {};
}

Status Catalog::ensure_publication(const std::string& name, std::span<const TableName> tables,
                                   bool remove_others, std::string* print) {
  TRY_ASSIGN(const auto existing, publication(name));
  const std::vector<std::string> statements =
      existing ? alter_publication_sql(*existing, tables, remove_others)
               : std::vector<std::string>{create_publication_sql(name, tables)};
  if (print == nullptr) return run_publication_sql("publish the tables", statements);
  *print += joined(statements);
  return {};
}

Status Catalog::run_publication_sql(std::string_view doing,
                                    std::span<const std::string> statements) {
  for (const std::string& statement : statements) {
    auto done = query(doing, statement);
    if (done) continue;
    Error error = std::move(done).error();
    if (connection_ && connection_->last_sqlstate() == "42501") {
      return fail(std::move(error).with_hint("let the owner run this, then repeat the command: " +
                                             joined(statements)));
    }
    return fail(std::move(error));
  }
  return {};
}

Status Catalog::drop_publication(const std::string& name) {
  const std::string statement = drop_publication_sql(name);
  return run_publication_sql("drop the publication", {&statement, 1});
}

Result<std::optional<SlotInfo>> Catalog::slot(const std::string& name) {
  TRY(connect());
  const int version = connection_->server_version();
  TRY_ASSIGN(const Rows rows,
             query("read the slot",
                   fmt::format(R"(
    SELECT coalesce(plugin, ''), coalesce(database, ''), temporary, active, active_pid, restart_lsn,
           confirmed_flush_lsn, coalesce(wal_status, ''), safe_wal_size,
           greatest(pg_wal_lsn_diff({}, restart_lsn), 0)::bigint, {}, {}, {}
    FROM pg_replication_slots WHERE slot_name = $1)",
                               kEndOfWal, version >= 140000 ? "two_phase" : "false",
                               version >= 170000 ? "failover" : "false",
                               version >= 170000 ? "coalesce(invalidation_reason, '')" : "''"),
                   {name}));
  if (rows.count() == 0) {
    TRY(slot_could_be_here(name));
    return std::nullopt;
  }
  SlotInfo slot;
  slot.name = name;
  slot.plugin = rows.string(0, 0);
  slot.database = rows.string(0, 1);
  slot.is_temporary = rows.boolean(0, 2);
  slot.active = rows.boolean(0, 3);
  slot.active_pid = static_cast<int>(rows.integer(0, 4));
  slot.restart_lsn = rows.lsn(0, 5);
  slot.confirmed_flush_lsn = rows.lsn(0, 6);
  slot.wal_status = rows.string(0, 7);
  if (!rows.is_null(0, 8)) slot.safe_wal_size = rows.integer(0, 8);
  slot.retained_bytes = static_cast<uint64_t>(rows.integer(0, 9));
  slot.is_two_phase = rows.boolean(0, 10);
  slot.is_failover = rows.boolean(0, 11);
  slot.invalidation_reason = rows.string(0, 12);
  return slot;
}

// While a failover goes on, the address may be a standby's, which has not the primary's slots: that
// says nothing about whether the slot is gone.
Status Catalog::slot_could_be_here(const std::string& name) {
  TRY_ASSIGN(const Rows rows, query("ask for a standby", "SELECT pg_is_in_recovery()"));
  if (!rows.boolean(0, 0)) return {};
  return fail(ErrorCode::retryable,
              "slot " + name + " is not on this server, which is a standby (in recovery)",
              "let source.dsn reach the primary: target_session_attrs=read-write");
}

Status Catalog::drop_slot(const std::string& name) {
  auto dropped = query("drop the slot",
                       "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                       "WHERE slot_name = $1",
                       {name});
  if (dropped) return {};
  Error error = std::move(dropped).error().at("slot " + name);
  if (connection_ && connection_->last_sqlstate() == "55006") {
    return fail(std::move(error)
                    .with_code(ErrorCode::refused)
                    .with_hint("stop the process that reads the slot first"));
  }
  return fail(std::move(error));
}

Result<Lsn> Catalog::emit_message(std::string_view prefix, std::string_view content,
                                  bool transactional) {
  TRY_ASSIGN(const Rows rows,
             query("write a logical message",
                   "SELECT pg_logical_emit_message($1::bool, $2::text, $3::bytea)",
                   {transactional ? "true" : "false", prefix, Parameter::bytes(content)}));
  return rows.lsn(0, 0);
}

}  // namespace millrace::source
