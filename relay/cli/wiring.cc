#include "relay/cli/wiring.h"

#include <map>
#include <random>

#include <unistd.h>

#include "connectors/postgres/target.h"
#include "relay/chunk/postgres_source.h"
#include "relay/cli/http_check.h"
#include "relay/log/embedded/embedded_log.h"
#include "relay/log/kafka/kafka_log.h"

namespace millrace::cli {
namespace {

// Shares of `memory`: what the log may queue and read ahead; the rest is for batches and for
// libraries.
size_t log_memory(const config::Config& config) { return static_cast<size_t>(config.memory / 4); }

std::vector<source::TableSelector> selectors(const config::Config& config) {
  std::vector<source::TableSelector> out;
  for (const config::TableEntry& entry : config.tables) {
    out.push_back({{entry.from.schema, entry.from.name}, entry.pattern});
  }
  return out;
}

sink::TableMapping mapping_of(const config::TableEntry& entry, const transform::TableRoute& route) {
  sink::TableMapping mapping;
  mapping.source_schema = route.source.schema;
  mapping.source_table = route.source.name;
  mapping.target_schema = route.target.schema;
  mapping.target_table = route.target.name;
  mapping.where = entry.where;
  mapping.create = entry.create;
  for (const config::ColumnMapping& column : entry.map) {
    if (column.sql) {
      mapping.expressions.push_back({column.column, *column.sql});
    } else {
      mapping.dropped.push_back(column.column);
    }
  }
  return mapping;
}

std::string missing_tables(const config::Config& config, const source::Selection& selection) {
  std::string text;
  for (const config::TableEntry& entry : config.tables) {
    for (const source::TableSelector& missing : selection.missing) {
      if (missing.name.schema != entry.from.schema || missing.name.name != entry.from.name)
        continue;
      if (missing.is_pattern != entry.pattern) continue;
      if (!text.empty()) text += "; ";
      text += config.file + ":" + std::to_string(entry.line) + ": " +
              (entry.pattern ? "no table on the source matches " : "the source has no table ") +
              config::to_string(entry.from);
    }
  }
  return text;
}

}  // namespace

source::Options source_options(const config::Config& config) {
  source::Options options;
  options.dsn = config.source.dsn.reveal();
  options.slot = config.source.slot;
  options.publication = config.source.publication;
  options.application_name = "millrace " + config.pipeline;
  options.streaming = config.source.streaming;
  options.receive_timeout = config.network_timeout;
  return options;
}

pipeline::RetainedWalLimit retained_wal_limit(const config::Config& config) {
  using Said = config::OnRetainedWal;
  using Done = pipeline::OnRetainedWal;
  const Said said = config.source.on_retained_wal;
  return {config.source.max_retained_wal, said == Said::stop        ? Done::stop
                                          : said == Said::drop_slot ? Done::drop_slot
                                                                    : Done::warn};
}

transform::TableRouter make_router(const config::Config& config) {
  transform::RouterOptions options;
  options.pipeline = config.pipeline;
  options.topics = config.log.topics;
  options.manifest_topic = config.log.manifest_topic;
  for (const config::TableEntry& entry : config.tables) {
    options.rules.push_back(
        {entry.pattern, {entry.from.schema, entry.from.name}, {entry.to.schema, entry.to.name}});
  }
  return transform::TableRouter(std::move(options));
}

std::string log_folder(const config::Config& config) { return config.state + "/log"; }
std::string capture_folder(const config::Config& config) { return config.state + "/capture"; }
std::string apply_folder(const config::Config& config) { return config.state + "/apply"; }
std::string spill_folder(const config::Config& config) { return config.state + "/spill"; }

Result<std::unique_ptr<log::Log>> open_log(const config::Config& config, bool observer) {
  if (config.log.kind == config::LogKind::embedded) {
    log::EmbeddedOptions options;
    options.path = log_folder(config);
    options.manifest_topic = config.log.manifest_topic;
    options.retention = config.log.retention;
    options.retention_bytes = config.log.retention_bytes;
    options.memory_bytes = log_memory(config);
    options.max_record_bytes = config.log.max_record;
    options.observer = observer;
    return log::open_embedded(options);
  }
  log::KafkaOptions options;
  options.brokers = config.log.brokers;
  options.manifest_topic = config.log.manifest_topic;
  options.replication_factor = config.log.replication_factor;
  options.max_record_bytes = config.log.max_record;
  options.memory_bytes = log_memory(config);
  options.retention = config.log.retention;
  options.client_id = "millrace-" + config.pipeline;
  for (const auto& [key, value] : config.log.kafka) options.passthrough[key] = value.reveal();
  return log::open_kafka(options);
}

std::vector<TableSchemaPtr> SelectedTables::schemas() const {
  std::vector<TableSchemaPtr> out;
  for (const source::SourceTable& table : tables) out.push_back(table.schema);
  return out;
}

std::vector<log::TopicSpec> SelectedTables::topics(const config::Config& config) const {
  std::vector<log::TopicSpec> out;
  for (const transform::TableRoute& route : routes) {
    out.push_back({route.topic, config.log.partitions});
  }
  return out;
}

Result<SelectedTables> select_tables(source::Catalog& catalog, const config::Config& config) {
  TRY_ASSIGN(auto selection, catalog.tables(selectors(config)));
  if (const std::string missing = missing_tables(config, selection); !missing.empty()) {
    return fail(ErrorCode::bad_data, missing,
                "create the tables on the source, or take them out of `tables`");
  }
  SelectedTables selected;
  std::map<transform::TableId, source::SourceTable> by_name;
  std::vector<transform::TableId> names;
  for (source::SourceTable& table : selection.tables) {
    const transform::TableId id{table.schema->schema, table.schema->name};
    names.push_back(id);
    by_name.emplace(id, std::move(table));
  }
  TRY_ASSIGN(selected.routes, make_router(config).select(names));
  for (const transform::TableRoute& route : selected.routes) {
    selected.tables.push_back(std::move(by_name.at(route.source)));
  }
  return selected;
}

std::vector<sink::TableMapping> mappings(const config::Config& config,
                                         const SelectedTables* selected) {
  std::vector<sink::TableMapping> out;
  if (selected) {
    for (const transform::TableRoute& route : selected->routes) {
      out.push_back(mapping_of(config.tables[route.rule], route));
    }
    return out;
  }
  for (const config::TableEntry& entry : config.tables) {
    if (entry.pattern) continue;
    const transform::TableRoute route{
        {entry.from.schema, entry.from.name}, {entry.to.schema, entry.to.name}, {}, 0};
    out.push_back(mapping_of(entry, route));
  }
  return out;
}

postgres::Options target_options(const config::Config& config, const SelectedTables* selected) {
  postgres::Options options;
  options.dsn = config.target.dsn.reveal();
  options.pipeline = config.pipeline;
  options.application_name = "millrace " + config.pipeline;
  options.park = config.target.on_bad_row == config::OnBadRow::park;
  options.network_timeout = config.network_timeout;
  options.add_columns = config.target.on_schema_change == config::OnSchemaChange::add_columns;
  options.replica_role = config.target.constraints == config::Constraints::replica;
  options.synchronous_commit = config.target.synchronous_commit != config::SynchronousCommit::off;
  options.tables = mappings(config, selected);
  return options;
}

postgres::Options impatient(postgres::Options options, std::stop_token stop) {
  options.connect_timeout = Millis(2000);
  options.stop = std::move(stop);
  return options;
}

Result<std::unique_ptr<sink::Target>> make_target(const config::Config& config,
                                                  const SelectedTables* selected) {
  return postgres::make_target(target_options(config, selected));
}

Status setup_around_stream(const config::Config& config, source::Catalog& catalog, log::Log& log,
                           sink::Target& target, const SelectedTables& selected) {
  TRY(target.setup(selected.schemas(), nullptr));
  TRY(setup_publication(config, catalog, selected, nullptr));
  return log.ensure_topics(selected.topics(config), true);
}

Status setup_publication(const config::Config& config, source::Catalog& catalog,
                         const SelectedTables& selected, std::string* print) {
  std::vector<source::TableName> names;
  for (const source::SourceTable& table : selected.tables) names.push_back(table.name());
  return catalog.ensure_publication(config.source.publication, names, false, print);
}

std::unique_ptr<chunk::Backfill> make_backfill(const config::Config& config,
                                               const SelectedTables* selected,
                                               const pipeline::StatusBoard& board,
                                               bool exits_on_stop) {
  chunk::Options options;
  const source::Options source = source_options(config);
  options.source = [source](std::stop_token stop) {
    source::Options own = source;
    own.stop = std::move(stop);
    return chunk::postgres_source(std::move(own));
  };
  options.rows = [source](std::stop_token stop) {
    source::Options own = source;
    own.stop = std::move(stop);
    return chunk::postgres_rows(std::move(own));
  };
  // Without the source nothing can be added: it is asked for its tables at the next start.
  options.on_start = config.backfill.on_start && selected != nullptr;
  if (selected != nullptr) {
    options.tables = selected->schemas();
    options.target_name = [routes = selected->routes](const TableSchema& table) {
      for (const transform::TableRoute& route : routes) {
        if (route.source == transform::TableId{table.schema, table.name})
          return transform::to_string(route.target);
      }
      return display_name(table);
    };
  }
  options.on_existing = config.backfill.on_existing == config::OnExisting::fail
                            ? chunk::OnExisting::fail
                            : chunk::OnExisting::keep;
  options.parallel = static_cast<size_t>(config.backfill.parallel);
  options.chunk_time = config.backfill.chunk_time;
  options.memory = config.memory / 5;
  options.exit_on_stop = exits_on_stop;
  const config::ThrottleOptions& limits = config.backfill.throttle;
  options.throttle.target_lag = limits.target_lag;
  options.throttle.retained_wal = limits.retained_wal;
  options.throttle.replica_lag = limits.replica_lag;
  options.throttle.sql = limits.sql;
  if (!limits.url.empty()) {
    const auto check = std::make_shared<HttpCheck>(HttpCheckOptions{limits.url});
    options.throttle.check = [check] { return check->reason(); };
  }
  options.throttle.target_lag_s = [&board] { return board.snapshot().lag.seconds; };
  options.throttle.retained_wal_bytes = [&board]() -> std::optional<uint64_t> {
    const auto slot = board.snapshot().slot;
    return slot ? slot->retained_wal_bytes : std::nullopt;
  };
  return std::make_unique<chunk::Backfill>(std::move(options), system_clock());
}

std::string publisher_name() {
  char host[256] = "localhost";
  gethostname(host, sizeof(host) - 1);
  std::random_device random;
  return std::string(host) + ":" + std::to_string(getpid()) + ":" + std::to_string(random());
}

}  // namespace millrace::cli
