// The part of Process that prepares: connects, proves that slot, log and target fit together, and
// makes what is missing. Called again while the cause of a failure may pass.
#include <algorithm>
#include <utility>

#include "relay/base/logging.h"
#include "relay/cli/process.h"
#include "relay/pipeline/setup_stream.h"
#include "relay/pipeline/source_guard.h"

namespace millrace::cli {
namespace {

constexpr Millis kDropPatience{5000};

}  // namespace

Status Process::prepare() {
  const bool sets_up = config_.setup == config::Setup::automatic;
  TRY(open_offsets());
  if (!log_) {
    TRY_ASSIGN(log_, open_or_rebuild_log());
  }
  source::Options source = source_options(config_);
  source.stop = stop_;
  source::Catalog catalog(source);
  std::optional<SelectedTables> selected;
  auto connected = catalog.connect();
  if (connected) {
    TRY_ASSIGN(selected, select_tables(catalog, config_));
  } else if (captures()) {
    return connected;
  } else {
    logging::warn("the source can not be asked for its tables; applying with what the log says",
                  {{"error", connected.error().describe()}});
  }
  if (captures()) TRY(guard_slot(catalog));
  if (applies()) TRY(prepare_target(selected ? &*selected : nullptr));
  if (applies()) {
    backfill_ = make_backfill(config_, selected ? &*selected : nullptr, board_, exits_on_stop());
  }
  if (connected) TRY(check_cluster(catalog));
  if (captures()) {
    carried_.clear();
    for (const source::SourceTable& table : selected->tables) carried_.push_back(table.name());
    TRY(guard_publication(catalog));
  }
  if (captures() && sets_up) TRY(publish_tables(catalog, *selected));
  TRY(log_->ensure_topics(selected ? selected->topics(config_) : std::vector<log::TopicSpec>(),
                          sets_up));
  if (captures() && sets_up) {
    pipeline::StreamSetup setup{source, config_.pipeline, publisher_name(), shared_.applied()};
    TRY_ASSIGN([[maybe_unused]] const bool created,
               pipeline::setup_stream(setup, *log_, system_clock(), stop_));
  }
  if (context_.until_caught_up && !goal_) TRY(find_goal(catalog));
  return {};
}

Status Process::prepare_target(const SelectedTables* selected) {
  TRY_ASSIGN(target_, make_target(config_, selected));
  const auto schemas = selected ? selected->schemas() : std::vector<TableSchemaPtr>();
  if (config_.setup == config::Setup::automatic) TRY(target_->setup(schemas, nullptr));
  TRY_ASSIGN(auto findings, target_->check(schemas));
  TRY_ASSIGN(const auto applied, target_->applied());
  // The stream of a pipeline that runs already may hold older shapes that do fit: it goes on up to
  // the first row that does not.
  for (Error& finding : findings) {
    if (!applied) return fail(std::move(finding).with_code(ErrorCode::bad_data));
    logging::warn("the target does not take all that the source may send",
                  {{"error", finding.describe()}});
  }
  if (!applied) return {};
  shared_.set_applied(applied->watermark);
  applied_from_ = applied->system_identifier;
  return {};
}

// Here too, not only beside a running stream: a target that is away must not keep the slot's limit
// from being looked at. The store knows that it is our source which is asked.
Status Process::guard_slot(source::Catalog& catalog) const {
  const pipeline::RetainedWalLimit limit = retained_wal_limit(config_);
  if (limit.action != pipeline::OnRetainedWal::drop_slot) return {};
  TRY_ASSIGN(const auto slot, catalog.slot(config_.source.slot));
  if (!slot || !limit.exceeded_by(*slot)) return {};
  TRY_ASSIGN(const auto facts, catalog.server());
  TRY_ASSIGN(const auto latest, capture_store_->latest(checkpoint::Kind::published));
  if (!latest || latest->system_identifier != facts.system_identifier) return {};
  return fail(pipeline::give_up_slot(catalog, *slot, limit, kDropPatience));
}

// What the publication was made to hold once, and lost, is not made anew in silence.
Status Process::guard_publication(source::Catalog& catalog) const {
  TRY_ASSIGN(const auto slot, catalog.slot(config_.source.slot));
  if (!slot) return {};  // no stream yet, or one that is refused for that
  TRY_ASSIGN(const auto published, capture_store_->tables());
  std::vector<source::TableName> known;
  for (const source::TableName& table : carried_) {
    const auto at = std::find(published.begin(), published.end(), display_name(table));
    if (at != published.end()) known.push_back(table);
  }
  if (known.empty()) return {};
  TRY_ASSIGN(auto gap, pipeline::publication_gap(catalog, config_.source.publication, known));
  if (gap) return fail(std::move(*gap));
  return {};
}

Status Process::publish_tables(source::Catalog& catalog, const SelectedTables& selected) {
  TRY(setup_publication(config_, catalog, selected, nullptr));
  std::vector<std::string> names;
  for (const source::TableName& table : carried_) names.push_back(display_name(table));
  return capture_store_->put_tables(names);
}

// Another cluster's LSNs say nothing about this target, so no goal may be taken from them.
Status Process::check_cluster(source::Catalog& catalog) const {
  if (applied_from_.empty()) return {};
  TRY_ASSIGN(const auto facts, catalog.server());
  if (facts.system_identifier.empty() || facts.system_identifier == applied_from_) return {};
  return fail(ErrorCode::refused,
              "the source is another database cluster than the one that the target was made from "
              "(system identifier " +
                  facts.system_identifier + ", not " + applied_from_ + ")",
              "point source.dsn at the old cluster, or start again from a fresh copy: `millrace "
              "teardown` and `millrace setup`");
}

// Everything committed before now lies before this message, and its own commit flushes the WAL up
// to it.
Status Process::find_goal(source::Catalog& catalog) {
  auto message = catalog.emit_message("millrace", "until caught up", true);
  if (message) {
    goal_ = *message;
    return {};
  }
  TRY_ASSIGN(const auto facts, catalog.server());
  goal_ = facts.insert_lsn;
  return {};
}

}  // namespace millrace::cli
