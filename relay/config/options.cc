#include "relay/config/options.h"

#include <array>
#include <type_traits>
#include <vector>

#include "relay/config/rules.h"
#include "relay/config/units.h"

namespace millrace::config {
namespace {

using std::string_view;

// reach<&Config::log, &LogOptions::brokers>(config) is config.log.brokers.
template <auto first, auto... rest>
auto& reach(auto& object) {
  if constexpr (sizeof...(rest) == 0) {
    return object.*first;
  } else {
    return reach<rest...>(object.*first);
  }
}

template <auto... path>
TextOption text(TextRule rule, string_view form) {
  return {[](Config& c) -> std::string& { return reach<path...>(c); }, rule, form};
}

template <auto... path>
SecretOption secret(bool connection_string, uint64_t least_bytes) {
  return {[](Config& c) -> Secret& { return reach<path...>(c); }, connection_string, least_bytes};
}

template <auto... path>
SizeOption size(uint64_t least, uint64_t most) {
  return {[](Config& c) -> uint64_t& { return reach<path...>(c); }, least, most};
}

template <auto... path>
CountOption count(int64_t least, int64_t most) {
  return {[](const Config& c) { return static_cast<int64_t>(reach<path...>(c)); },
          [](Config& c, int64_t value) {
            auto& to = reach<path...>(c);
            to = static_cast<std::remove_reference_t<decltype(to)>>(value);
          },
          least, most};
}

template <auto... path>
TimeOption time(Millis least, Millis most) {
  return {[](Config& c) -> Millis& { return reach<path...>(c); }, least, most};
}

template <auto... path>
SwitchOption on_off() {
  return {[](Config& c) -> bool& { return reach<path...>(c); }};
}

template <auto... path>
ChoiceOption choice(std::span<const string_view> names) {
  return {names, [](const Config& c) { return static_cast<size_t>(reach<path...>(c)); },
          [](Config& c, size_t index) {
            auto& to = reach<path...>(c);
            to = static_cast<std::remove_reference_t<decltype(to)>>(index);
          }};
}

constexpr uint64_t kKb = 1024;
constexpr uint64_t kMb = 1024 * kKb;
constexpr uint64_t kGb = 1024 * kMb;
constexpr uint64_t kTb = 1024 * kGb;
constexpr Millis kSecond{1000};
constexpr Millis kHour{3'600'000};
constexpr Millis kDay{86'400'000};

// In the order of their enums.
constexpr std::array<string_view, 2> kSetup{"auto", "manual"};
constexpr std::array<string_view, 2> kOnStop{"wait", "exit"};
constexpr std::array<string_view, 3> kOnRetainedWal{"warn", "stop", "drop_slot"};
constexpr std::array<string_view, 2> kLogKind{"embedded", "kafka"};
constexpr std::array<string_view, 2> kFormat{"protobuf", "debezium_json"};
constexpr std::array<string_view, 2> kDelivery{"manifest", "exactly_once"};
constexpr std::array<string_view, 2> kAcknowledge{"published", "applied"};
constexpr std::array<string_view, 1> kTargetKind{"postgres"};
constexpr std::array<string_view, 2> kVersion{"column", "side_table"};
constexpr std::array<string_view, 2> kOnSchemaChange{"stop", "add_columns"};
constexpr std::array<string_view, 2> kOnBadRow{"stop", "park"};
constexpr std::array<string_view, 2> kConstraints{"check", "replica"};
constexpr std::array<string_view, 2> kSynchronousCommit{"on", "off"};
constexpr std::array<string_view, 3> kOnExisting{"fail", "keep", "verify"};
constexpr std::array<string_view, 4> kLevel{"debug", "info", "warn", "error"};
constexpr std::array<string_view, 2> kLogFormat{"text", "json"};

constexpr std::array<string_view, 1> kNoDebezium{"debezium_json"};
constexpr std::array<string_view, 1> kNoTransactions{"exactly_once"};
constexpr std::array<string_view, 1> kNoSideTable{"side_table"};
constexpr std::array<string_view, 1> kNotAboveOne{">1"};

using C = Config;
using S = SourceOptions;
using L = LogOptions;
using T = TargetOptions;
using B = BackfillOptions;

std::vector<Option> general_options() {
  return {
      {"pipeline", "", true, text<&C::pipeline>(rules::pipeline_name, "[a-z0-9_]{1,40}"),
       "Names the slot, the publication and the topics unless they are given."},
      {"state", "./state", false, text<&C::state>(rules::path, "path"),
       "Folder of the local store: offsets, history, the embedded log. One pipeline a folder."},
      {"setup", "auto", false, choice<&C::setup>(kSetup),
       "auto: `run` first does what `millrace setup` does. manual: it only checks."},
      {"on_stop", "wait", false, choice<&C::on_stop>(kOnStop),
       "When a hand is needed: wait and try again every few seconds, or exit with 1."},
      {"memory", "128MB", false, size<&C::memory>(32 * kMb, kTb),
       "The whole process' budget for rows."},
      {"network_timeout", "60s", false, time<&C::network_timeout>(kSecond, kHour),
       "A source or target that is silent for so long, though asked, is connected to anew."},
  };
}

std::vector<Option> source_options() {
  return {
      {"source.dsn", "", true, secret<&C::source, &S::dsn>(true, 1),
       "Connection string of the source, as libpq takes it; prefer sslmode=verify-full."},
      {"source.slot", "millrace_{pipeline}", false,
       text<&C::source, &S::slot>(rules::slot_name, "[a-z0-9_]{1,63}"),
       "The replication slot; `setup` creates it."},
      {"source.publication", "millrace_{pipeline}", false,
       text<&C::source, &S::publication>(rules::identifier, "1 to 63 bytes"),
       "The publication; `setup` creates it and keeps its tables in step with `tables`."},
      {"source.max_retained_wal", "20GB", false,
       size<&C::source, &S::max_retained_wal>(16 * kMb, 1024 * kTb),
       "How much WAL the slot may hold back before `on_retained_wal` acts."},
      {"source.on_retained_wal", "warn", false,
       choice<&C::source, &S::on_retained_wal>(kOnRetainedWal),
       "What to do above `max_retained_wal`: warn; stop capturing, which keeps the slot; or drop "
       "the slot, which saves the source's disk and ends the stream."},
      {"source.streaming", "off", false, on_off<&C::source, &S::streaming>(),
       "Receive large transactions before they commit, and keep them under `state` until then "
       "(Postgres 14 and later)."},
      {"source.slot_wait", "75s", false, time<&C::source, &S::slot_wait>(Millis(0), kHour),
       "How long to wait for a slot that another process holds before giving up with 4. Longer "
       "than "
       "the source's `wal_sender_timeout` (60s unless set), after which it lets go of a reader "
       "whose host has vanished."},
  };
}

std::vector<Option> log_options() {
  return {
      {"log.kind", "embedded", false, choice<&C::log, &L::kind>(kLogKind),
       "embedded keeps the log under `state`; kafka uses a cluster."},
      {"log.brokers",
       "",
       false,
       text<&C::log, &L::brokers>(rules::brokers, "host:port[,…]"),
       "Bootstrap brokers; needed with kafka.",
       {},
       "none"},
      {"log.topics", "{pipeline}.{schema}.{table}", false,
       text<&C::log, &L::topics>(rules::topic_template, "template"),
       "Topic of a table; holds {pipeline}, {schema} and {table} with a dot between any two."},
      {"log.manifest_topic", "{pipeline}.manifest", false,
       text<&C::log, &L::manifest_topic>(rules::manifest_topic, "template"),
       "Topic of the manifests (one partition); holds {pipeline}."},
      {"log.partitions", "6", false, count<&C::log, &L::partitions>(1, 1000),
       "Partitions of each data topic that `setup` creates."},
      {"log.replication_factor", "3", false, count<&C::log, &L::replication_factor>(1, 100),
       "Replicas of each topic that `setup` creates (kafka)."},
      {"log.format", "protobuf", false, choice<&C::log, &L::format>(kFormat),
       "How records are encoded.", kNoDebezium},
      {"log.delivery", "manifest", false, choice<&C::log, &L::delivery>(kDelivery),
       "manifest: rows count once a manifest names them. exactly_once: in a Kafka transaction too.",
       kNoTransactions},
      {"log.retention", "7d", false, time<&C::log, &L::retention>(60 * kSecond, 3650 * kDay),
       "How long records are kept; longer than the applier may ever be away."},
      {"log.retention_bytes", "10GB", false,
       size<&C::log, &L::retention_bytes>(64 * kMb, 1024 * kTb),
       "How much the embedded log keeps of what is already applied."},
      {"log.max_record",
       "64MB",
       false,
       size<&C::log, &L::max_record>(64 * kKb, kGb),
       "The largest row record; becomes max.message.bytes. A larger row is a bad row.",
       {},
       "64MB, or half of `memory` if that is less"},
      {"log.acknowledge",
       "",
       false,
       choice<&C::log, &L::acknowledge>(kAcknowledge),
       "What lets the source's slot forget: durable in the log, or durable in the target.",
       {},
       "published with kafka, applied with embedded"},
      {"log.kafka",
       "",
       false,
       SpecialOption{"mapping"},
       "Properties passed to librdkafka as they are: {compression.type: lz4}.",
       {},
       "none"},
  };
}

std::vector<Option> target_options() {
  return {
      {"target.kind", "postgres", false, choice<&C::target, &T::kind>(kTargetKind),
       "What the target is."},
      {"target.dsn", "", true, secret<&C::target, &T::dsn>(true, 1),
       "Connection string of the target, as libpq takes it; prefer sslmode=verify-full."},
      {"target.version", "column", false, choice<&C::target, &T::version>(kVersion),
       "Where a row's version is kept: the column _millrace, or a table beside it.", kNoSideTable},
      {"target.on_schema_change", "stop", false,
       choice<&C::target, &T::on_schema_change>(kOnSchemaChange),
       "When the source has a column that the target lacks: stop until it has it, or add it there "
       "(nullable, at the end of the table; never a rename, a drop or another type)."},
      {"target.on_bad_row", "stop", false, choice<&C::target, &T::on_bad_row>(kOnBadRow),
       "When the target rejects a row: stop at it, or park it with all later changes of its key."},
      {"target.max_parked", "10000", false, count<&C::target, &T::max_parked>(1, 1'000'000),
       "How many changes may be parked before the pipeline stops."},
      {"target.constraints", "check", false, choice<&C::target, &T::constraints>(kConstraints),
       "replica sets session_replication_role, so that triggers and foreign keys do not fire."},
      {"target.synchronous_commit", "on", false,
       choice<&C::target, &T::synchronous_commit>(kSynchronousCommit),
       "Of the applying session; with off a crash of the target can undo what counts as applied."},
      {"target.applier_wait", "30s", false, time<&C::target, &T::applier_wait>(Millis(0), kHour),
       "How long to wait for a target that another instance applies to before giving up with 4."},
  };
}

std::vector<Option> backfill_options() {
  return {
      {"backfill.on_start", "on", false, on_off<&C::backfill, &B::on_start>(),
       "Copy the rows that are already in the source: of every table when the pipeline begins, and "
       "of tables that are added to `tables` later."},
      {"backfill.on_existing", "fail", false, choice<&C::backfill, &B::on_existing>(kOnExisting),
       "When such a table has rows in the target that nobody copied: refuse; keep them and copy "
       "what "
       "is missing; or that, and verify each table once when the copies have ended."},
      {"backfill.parallel", "2", false, count<&C::backfill, &B::parallel>(1, 16),
       "How many tables are read at a time."},
      {"backfill.chunk_time", "500ms", false,
       time<&C::backfill, &B::chunk_time>(Millis(10), 60 * kSecond),
       "What reading and writing one chunk is to take; its rows follow from that."},
      {"backfill.head_start", "30s", false, time<&C::backfill, &B::head_start>(Millis(0), kDay),
       "How long the stream of a new pipeline waits, in the log, while the first copy comes "
       "further: alone that takes about half the time. 0s: it is applied beside the copy at once."},
      {"backfill.throttle.target_lag", "60s", false,
       time<&C::backfill, &B::throttle, &ThrottleOptions::target_lag>(Millis(0), kDay),
       "Copy nothing while the target is further behind; 0s: no limit."},
      {"backfill.throttle.retained_wal", "10GB", false,
       size<&C::backfill, &B::throttle, &ThrottleOptions::retained_wal>(0, 1024 * kTb),
       "Copy nothing while the slot holds back more WAL; 0B: no limit. Known to the process that "
       "captures."},
      {"backfill.throttle.replica_lag", "0s", false,
       time<&C::backfill, &B::throttle, &ThrottleOptions::replica_lag>(Millis(0), kDay),
       "Copy nothing while a physical replica of the source replays later; 0s: no limit. Needs "
       "pg_monitor on the source."},
      {"backfill.throttle.sql",
       "",
       false,
       text<&C::backfill, &B::throttle, &ThrottleOptions::sql>(rules::anything, "SQL"),
       "Asked at the source every second; copy nothing while it says true, a number above 0, or a "
       "text, which is shown as the reason.",
       {},
       "none"},
      {"backfill.throttle.url",
       "",
       false,
       text<&C::backfill, &B::throttle, &ThrottleOptions::url>(rules::http_url, "http://…"),
       "Asked every two seconds; copy nothing unless it answers 2xx, and not while the body is a "
       "JSON object with `hold: true` (`why` is shown as the reason).",
       {},
       "none"},
  };
}

std::vector<Option> other_options() {
  return {
      {"tables", "", true, SpecialOption{"list"},
       "What to copy; a name, or a mapping with the keys below."},
      {"publish.group_rows", "10000", false, count<&C::publish, &GroupLimits::rows>(1, 10'000'000),
       "A commit group closes at so many rows (a larger transaction is a group of its own)."},
      {"publish.group_bytes",
       "8MB",
       false,
       size<&C::publish, &GroupLimits::bytes>(64 * kKb, kGb),
       "… or at so many bytes.",
       {},
       "8MB, or an eighth of `memory` if that is less"},
      {"publish.group_wait", "5ms", false,
       time<&C::publish, &GroupLimits::wait>(Millis(0), 60 * kSecond),
       "… or so long after its first row; an idle stream closes it at once."},
      {"apply.group_rows", "10000", false,
       count<&C::apply, &ApplyOptions::group, &GroupLimits::rows>(1, 10'000'000),
       "The applier joins commit groups up to so many rows into one target transaction."},
      {"apply.group_bytes",
       "8MB",
       false,
       size<&C::apply, &ApplyOptions::group, &GroupLimits::bytes>(64 * kKb, kGb),
       "Rows go to the target in statements of no more than so many bytes, or of group_rows.",
       {},
       "8MB, or an eighth of `memory` if that is less"},
      {"apply.group_wait", "5ms", false,
       time<&C::apply, &ApplyOptions::group, &GroupLimits::wait>(Millis(0), 60 * kSecond),
       "The least time between two target transactions of a busy stream; a few rows wait for less, "
       "an idle stream not at all."},
      {"apply.shards", "1", false, count<&C::apply, &ApplyOptions::shards>(1, 64),
       "Appliers side by side, each with its own partitions.", kNotAboveOne},
      {"verify.schedule",
       "",
       false,
       SpecialOption{"list"},
       "What `run` proves beside the stream, again and again: entries with the keys below.",
       {},
       "none"},
      {"verify.max_rate", "20000", false,
       count<&C::verify, &VerifyOptions::max_rate>(0, 1'000'000'000),
       "Rows a second that scheduled proofs read; 0: no limit."},
      {"verify.keep", "200", false, count<&C::verify, &VerifyOptions::keep>(1, 100'000),
       "Proofs that the target keeps of each table and kind, of each entry of the schedule and by "
       "hand (`millrace verify --history`)."},
      {"verify.invariants",
       "",
       false,
       SpecialOption{"mapping"},
       "Names, and SQL over the target that `millrace verify` runs: each row that it returns is a "
       "violation; one boolean must be true. search_path is pg_catalog.",
       {},
       "none"},
      {"admin.listen", "127.0.0.1:7070", false, SpecialOption{"host:port or off"},
       "Admin port; port 0 takes a free one. Other than loopback needs `admin.token`."},
      {"admin.token",
       "",
       false,
       secret<&C::admin, &AdminOptions::token>(false, 16),
       "Bearer token that every request but /healthz and /readyz must carry.",
       {},
       "none"},
      {"logging.level", "info", false, choice<&C::logging, &LoggingOptions::level>(kLevel),
       "Least severity that is logged; -v means debug."},
      {"logging.format", "text", false, choice<&C::logging, &LoggingOptions::format>(kLogFormat),
       "Form of the lines on stderr; --log-format overrides it."},
  };
}

struct Shower {
  Config& config;

  std::string operator()(const TextOption& o) const { return o.at(config); }
  std::string operator()(const SecretOption& o) const { return o.at(config).empty() ? "" : "***"; }
  std::string operator()(const SizeOption& o) const { return format_size(o.at(config)); }
  std::string operator()(const CountOption& o) const { return std::to_string(o.get(config)); }
  std::string operator()(const TimeOption& o) const { return format_duration(o.at(config)); }
  std::string operator()(const SwitchOption& o) const { return o.at(config) ? "on" : "off"; }
  std::string operator()(const ChoiceOption& o) const {
    return std::string(o.names[o.get(config)]);
  }
  std::string operator()(const SpecialOption&) const { return ""; }
};

}  // namespace

std::span<const Option> options() {
  static const std::vector<Option> all = [] {
    std::vector<Option> out = general_options();
    for (auto part :
         {source_options(), log_options(), target_options(), backfill_options(), other_options()}) {
      out.insert(out.end(), part.begin(), part.end());
    }
    return out;
  }();
  return all;
}

std::span<const EntryKey> table_entry_keys() {
  static constexpr std::array<EntryKey, 6> kKeys{{
      {"from", "schema.table",
       "The source table, named as SQL writes it; a bare name is in public."},
      {"pattern", "schema.table with * and ?",
       "Instead of `from`: every matching table, under its own name. New ones are added by "
       "`setup`."},
      {"to", "schema.table", "The target table; default: the same name."},
      {"create", "true or false",
       "Create the target table from the source's shape and this mapping; default false."},
      {"where", "SQL", "Only rows for which this holds, over the source's columns."},
      {"map", "mapping",
       "Target column: SQL over the source's columns. `column: ~` leaves a source column out."},
  }};
  return kKeys;
}

std::span<const EntryKey> schedule_entry_keys() {
  static constexpr std::array<EntryKey, 4> kKeys{{
      {"kind", "rows \\| counts \\| sample \\| drift \\| invariants",
       "As `millrace verify`, with `--counts`, `--sample`, `--drift`, or the invariants alone."},
      {"every", "1s to 366d", "How often; what was missed while nobody ran is made up for once."},
      {"tables", "list of schema.table", "Of the source; default: all. Not of invariants."},
      {"sample", "percent", "Of kind sample: the share of the chunks; default 5%."},
  }};
  return kKeys;
}

std::span<const string_view> keys_not_built() {
  static constexpr std::array<string_view, 1> kKeys{"outbox"};
  return kKeys;
}

std::string show(const Option& option, const Config& config) {
  Config copy = config;  // the accessors are written for reading in
  return std::visit(Shower{copy}, option.kind);
}

}  // namespace millrace::config
