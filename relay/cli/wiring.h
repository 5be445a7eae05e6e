// Wiring: from a Config to the parts of a pipeline; the one place that knows connectors.
//
// Nothing here connects by itself, unless it says so.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "connectors/postgres/target.h"
#include "relay/base/result.h"
#include "relay/chunk/backfill.h"
#include "relay/config/config.h"
#include "relay/event/table_schema.h"
#include "relay/log/log.h"
#include "relay/pipeline/source_guard.h"
#include "relay/pipeline/status_board.h"
#include "relay/sink/target.h"
#include "relay/source/catalog.h"
#include "relay/source/options.h"
#include "relay/transform/table_route.h"

namespace millrace::cli {

source::Options source_options(const config::Config& config);
pipeline::RetainedWalLimit retained_wal_limit(const config::Config& config);
transform::TableRouter make_router(const config::Config& config);

// <state>/log, <state>/capture, <state>/apply: one owner each, so that roles can be split. Of
// <state>/spill that is who owns capture.
std::string log_folder(const config::Config& config);
std::string capture_folder(const config::Config& config);
std::string apply_folder(const config::Config& config);
std::string spill_folder(const config::Config& config);

// `observer`: beside a running process, read only.
Result<std::unique_ptr<log::Log>> open_log(const config::Config& config, bool observer = false);

// The source's tables that the config selects, and where each goes.
struct SelectedTables {
  std::vector<source::SourceTable> tables;
  std::vector<transform::TableRoute> routes;  // as many, in the same order
  std::vector<TableSchemaPtr> schemas() const;
  std::vector<log::TopicSpec> topics(const config::Config& config) const;
};

// Asks the source. Errors: bad_data for entries that match nothing there; config for two that
// collide.
Result<SelectedTables> select_tables(source::Catalog& catalog, const config::Config& config);

// How each selected table lands; without `selected` those of exact entries.
std::vector<sink::TableMapping> mappings(const config::Config& config,
                                         const SelectedTables* selected);
// For a session beside the stream: a stop does not wait long for a target that does not answer.
postgres::Options impatient(postgres::Options options, std::stop_token stop);
postgres::Options target_options(const config::Config& config, const SelectedTables* selected);

// Mappings of exact entries and, where `selected` is given, of the tables that patterns matched.
Result<std::unique_ptr<sink::Target>> make_target(const config::Config& config,
                                                  const SelectedTables* selected);

// Publication, topics and target metadata; idempotent. The slot and the origin of the stream are
// pipeline::setup_stream's.
Status setup_around_stream(const config::Config& config, source::Catalog& catalog, log::Log& log,
                           sink::Target& target, const SelectedTables& selected);

// The publication alone. With `print` nothing is run and the SQL is appended.
Status setup_publication(const config::Config& config, source::Catalog& catalog,
                         const SelectedTables& selected, std::string* print);

// What carries copies through in the process that applies. `board` outlives it.
std::unique_ptr<chunk::Backfill> make_backfill(const config::Config& config,
                                               const SelectedTables* selected,
                                               const pipeline::StatusBoard& board,
                                               bool exits_on_stop);

// "host:pid:random": who publishes, for people.
std::string publisher_name();

}  // namespace millrace::cli
