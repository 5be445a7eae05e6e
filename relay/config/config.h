// Config: one pipeline's options as plain data, checked as a whole when it is read.
//
// Invariant: a Config that load() or parse() returned is complete (every default filled in) and
// within its bounds. The members have no defaults here: those stand in options.cc, with bounds and
// one line of documentation each, and docs/configuration.md is made from there.
//
// Format: YAML, one mapping; unknown and repeated keys are errors. Sizes "64MB" (1MB is 1024·1024
// bytes, as Postgres counts), times "500ms" (ms, s, m, h, d). ${env:NAME} and ${file:path} may
// stand anywhere in a value. Relative paths start at the folder of the config file. Table names are
// as SQL writes them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "relay/base/clock.h"
#include "relay/base/logging.h"
#include "relay/base/result.h"
#include "relay/config/secret.h"

namespace millrace::config {

enum class Setup { automatic, manual };  // written auto | manual
enum class OnStop { wait, exit };
enum class OnRetainedWal { warn, stop, drop_slot };
enum class LogKind { embedded, kafka };
enum class RecordFormat { protobuf, debezium_json };
enum class Delivery { manifest, exactly_once };
enum class Acknowledge { published, applied };
enum class TargetKind { postgres };
enum class VersionPlace { column, side_table };
enum class OnSchemaChange { stop, add_columns };
enum class OnBadRow { stop, park };
enum class Constraints { check, replica };
enum class SynchronousCommit { on, off };
enum class OnExisting { fail, keep, verify };
enum class ProofKind { rows, counts, sample, drift, invariants };

// Plain identifiers, as the catalog has them: no quotes, no folding left to do.
struct TableName {
  std::string schema;
  std::string name;
  auto operator<=>(const TableName&) const = default;
};

std::string to_string(const TableName& name);  // public."Odd Name"

struct SourceOptions {
  Secret dsn;
  std::string slot;
  std::string publication;
  uint64_t max_retained_wal = 0;  // bytes
  OnRetainedWal on_retained_wal{};
  bool streaming = false;
  Millis slot_wait{};  // how long to wait for a slot that another process holds
};

struct LogOptions {
  LogKind kind{};
  std::string brokers;         // kafka only
  std::string topics;          // template: {pipeline}, {schema}, {table}
  std::string manifest_topic;  // expanded
  int32_t partitions = 0;
  int16_t replication_factor = 0;
  RecordFormat format{};
  Delivery delivery{};
  Millis retention{};
  uint64_t retention_bytes = 0;
  uint64_t max_record = 0;  // bytes
  Acknowledge acknowledge{};
  std::vector<std::pair<std::string, Secret>> kafka;  // passed to librdkafka as they are
};

struct TargetOptions {
  TargetKind kind{};
  Secret dsn;
  VersionPlace version{};
  OnSchemaChange on_schema_change{};
  OnBadRow on_bad_row{};
  uint64_t max_parked = 0;  // rows
  Constraints constraints{};
  SynchronousCommit synchronous_commit{};
  Millis applier_wait{};  // how long to wait for a target that another instance applies to
};

struct ColumnMapping {
  std::string column;              // of the target; for a dropped one, of the source
  std::optional<std::string> sql;  // over the source's columns; nullopt: the column does not travel
};

// One entry of `tables`. Either `from` names one table, or `pattern` is set and `from` holds two
// globs
// (* any run of characters, ? any one) over schema and name.
struct TableEntry {
  bool pattern = false;
  TableName from;
  TableName to;  // equal to `from` unless given; unused with a pattern
  bool create = false;
  std::string where;
  std::vector<ColumnMapping> map;
  int line = 0;  // in the config file, for messages
};

struct GroupLimits {
  uint64_t rows = 0;
  uint64_t bytes = 0;
  Millis wait{};
};

struct ApplyOptions {
  GroupLimits group;
  int32_t shards = 1;
};

struct ThrottleOptions {
  Millis target_lag{};  // limits of 0 are off
  uint64_t retained_wal = 0;
  Millis replica_lag{};
  std::string sql;
  std::string url;
};

struct BackfillOptions {
  bool on_start = false;
  OnExisting on_existing{};
  int32_t parallel = 1;
  Millis chunk_time{};
  Millis head_start{};
  ThrottleOptions throttle;
};

// One entry of `verify.schedule`.
struct ScheduledProof {
  ProofKind kind{};
  Millis every{};
  std::vector<TableName> tables;  // of the source; empty: all
  double sample_percent = 0;      // kind sample
  int line = 0;                   // in the config file, for messages
};
std::string to_string(const ScheduledProof& entry);  // "rows every 1h of public.a, public.b"

struct VerifyOptions {
  std::vector<ScheduledProof> schedule;
  int64_t max_rate = 0;  // rows a second that scheduled proofs read; 0: no limit
  int64_t keep = 0;      // proofs of each table and kind
  // What must hold in the target: a name, and SQL that returns what speaks against it.
  std::vector<std::pair<std::string, std::string>> invariants;
};

struct AdminOptions {
  bool enabled = true;  // false for `listen: off`
  std::string host;     // without brackets
  uint16_t port = 0;    // 0: any free one; written to <state>/admin.address
  Secret token;
};

struct LoggingOptions {
  logging::Level level{};
  logging::Format format{};
};

struct Config {
  std::string file;  // as given to load()
  std::string pipeline;
  std::string state;  // folder; absolute, or relative to the working directory
  Setup setup{};
  OnStop on_stop{};
  SourceOptions source;
  LogOptions log;
  TargetOptions target;
  std::vector<TableEntry> tables;
  BackfillOptions backfill;
  VerifyOptions verify;
  GroupLimits publish;  // commit groups that capture makes
  ApplyOptions apply;
  uint64_t memory = 0;       // bytes
  Millis network_timeout{};  // of a source or target that is silent
  AdminOptions admin;
  LoggingOptions logging;
};

// Where ${env:NAME} looks; std::getenv unless a test says otherwise.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();

// Errors: config, with every mistake of the file as one line "file:line: message" of the message.
Result<Config> load(const std::string& path,
                    const Environment& environment = process_environment());
Result<Config> parse(std::string_view text, const std::string& filename,
                     const Environment& environment = process_environment());

// Two identifiers joined by a dot, quoted where SQL needs it; a name without schema is in public.
// Errors: config.
Result<TableName> parse_table_name(std::string_view text);

// Every option in effect as YAML-like lines "log.partitions: 6"; secrets are shown as ***.
std::string effective(const Config& config);

// docs/configuration.md.
std::string reference_markdown();

}  // namespace millrace::config
