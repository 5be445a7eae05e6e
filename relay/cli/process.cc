#include "relay/cli/process.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <utility>

#include "relay/base/backoff.h"
#include "relay/base/failpoint.h"
#include "relay/base/logging.h"
#include "relay/checkpoint/spill.h"
#include "relay/pipeline/setup_stream.h"
#include "relay/pipeline/source_guard.h"
#include "relay/pipeline/stage.h"

namespace millrace::cli {
namespace {

constexpr Millis kHour{3'600'000};
constexpr Millis kDropPatience{5000};
constexpr Millis kWarningsApart{10'000};

std::string role_name(Role role) {
  switch (role) {
    case Role::capture:
      return "capture";
    case Role::apply:
      return "apply";
    case Role::all:
      break;
  }
  return "all";
}

checkpoint::Entry entry_of(checkpoint::Kind kind, const std::string& pipeline,
                           const Watermark& watermark, const Manifest& manifest, LogOffset offset) {
  checkpoint::Entry entry;
  entry.kind = kind;
  entry.pipeline = pipeline;
  entry.watermark = watermark;
  entry.token = manifest.token;
  entry.manifest_offset = offset;
  entry.epoch = manifest.epoch;
  entry.system_identifier = manifest.system_identifier;
  entry.at = manifest.published_at;
  return entry;
}

// One damaged copy is kept, for whoever wants to look at it.
Status put_aside(const std::string& folder, const std::string& event, const Error& error) {
  const std::string aside = folder + ".damaged";
  logging::warn(event, {{"error", error.describe()}, {"moved_to", aside}});
  std::error_code failure;
  std::filesystem::remove_all(aside, failure);
  std::filesystem::rename(folder, aside, failure);
  if (!failure) return {};
  return fail(ErrorCode::retryable,
              "the damaged folder " + folder + " can not be renamed: " + failure.message(),
              "move it away by hand");
}

// The folder is a copy of what the log knows: a failed write is worth a warning now and then, not a
// stop.
void put_or_warn(checkpoint::Store& store, const checkpoint::Entry& entry) {
  static std::atomic<SteadyTime> next_warning{SteadyTime::min()};
  if (auto put = store.put(entry, false); !put) {
    const SteadyTime now = system_clock().now();
    if (now < next_warning.load()) return;
    next_warning = now + kWarningsApart;
    logging::warn("offsets could not be written", {{"error", put.error().describe()}});
  }
}

}  // namespace

Process::Process(const Context& context, std::stop_token stop)
    : context_(context),
      config_(context.config),
      stop_(std::move(stop)),
      board_(config_.pipeline, role_name(context.role)) {}

bool Process::exits_on_stop() const {
  return context_.until_caught_up || config_.on_stop == config::OnStop::exit;
}

// Roles that could never do their work are refused before anything is touched.
Status Process::check_role() const {
  if (context_.role == Role::all) return {};
  if (config_.log.kind == config::LogKind::embedded) {
    return fail(ErrorCode::config,
                "--role " + role_name(context_.role) +
                    " needs a log that two processes can share; the embedded log has one owner",
                "set log.kind: kafka, or run without --role");
  }
  if (context_.role == Role::capture && config_.log.acknowledge == config::Acknowledge::applied) {
    return fail(ErrorCode::config,
                "log.acknowledge: applied needs to know what the target has applied, which "
                "--role capture does not",
                "set log.acknowledge: published, or run without --role");
  }
  return {};
}

Status Process::run() {
  TRY(check_role());
  // A full disk is waited for, in the open: see prepare().
  if (auto opened = open_folders(); !opened && opened.error().code() != ErrorCode::retryable) {
    return opened;
  }
  // Not ready before slot, log and target are: whoever waits for /readyz counts on them.
  board_.failing("setup", pipeline::HealthState::blocked, "starting");
  TRY(start_admin());
  while (true) {
    TRY(prepare_until_ready());
    if (stop_.stop_requested()) return {};
    logging::info("running", {{"pipeline", config_.pipeline},
                              {"role", role_name(context_.role)},
                              {"log", log_->describe()}});
    auto ended = pipeline::supervise(*log_, target_.get(), system_clock(), supervisor_options(),
                                     shared_, board_, stop_);
    if (ended) logging::info("stopped", {{"pipeline", config_.pipeline}});
    if (ended || !may_rebuild_log(ended.error())) return ended;
    TRY(put_log_aside(ended.error()));
    board_.failing("setup", pipeline::HealthState::blocked, "the damaged log is filled again");
  }
}

// Where the slot keeps all that the target lacks, a damaged log is worth no more than a lost one,
// and decide_resume() refuses where that is not so. Once: what was damaged again right after was
// not the folder.
bool Process::may_rebuild_log(const Error& error) const {
  return error.code() == ErrorCode::corruption && !rebuilt_log_ &&
         config_.log.kind == config::LogKind::embedded &&
         config_.log.acknowledge == config::Acknowledge::applied;
}

Status Process::put_log_aside(const Error& error) {
  rebuilt_log_ = true;
  log_.reset();
  // Offsets of the lost log say nothing about the new one.
  applied_marks_.clear();
  released_control_ = 0;
  return put_aside(log_folder(config_),
                   "the embedded log is damaged; it is put aside and filled "
                   "again from the slot",
                   error);
}

Result<std::unique_ptr<log::Log>> Process::open_or_rebuild_log() {
  auto opened = open_log(config_);
  if (opened || !may_rebuild_log(opened.error())) return opened;
  TRY(put_log_aside(opened.error()));
  return open_log(config_);
}

Result<std::unique_ptr<checkpoint::Store>> Process::open_store(const std::string& folder) {
  checkpoint::Options options;
  options.path = folder;
  options.pipeline = config_.pipeline;
  auto store = checkpoint::Store::open(options);
  if (store || store.error().code() != ErrorCode::corruption) return store;
  // The log and the target know everything that it held but the history.
  TRY(put_aside(folder, "the offsets folder is damaged; it is put aside and rebuilt",
                store.error()));
  return checkpoint::Store::open(options);
}

// Folders first: their locks tell a second instance on this machine before anything is touched.
Status Process::open_folders() {
  std::error_code error;
  std::filesystem::create_directories(config_.state, error);
  if (error) {
    const bool full = error == std::errc::no_space_on_device;
    return fail(full ? ErrorCode::retryable : ErrorCode::config,
                "the state folder " + config_.state + " can not be made: " + error.message(),
                "set `state` to a folder that this user may write");
  }
  return open_offsets();
}

Status Process::open_offsets() {
  if (captures() && !capture_store_) {
    TRY_ASSIGN(capture_store_, open_store(capture_folder(config_)));
    checkpoint::Spill::discard(spill_folder(config_));  // of a killed process
  }
  if (applies() && !apply_store_) {
    TRY_ASSIGN(apply_store_, open_store(apply_folder(config_)));
  }
  return {};
}

Status Process::start_admin() {
  if (!config_.admin.enabled) return {};
  admin::ServerOptions options;
  options.host = config_.admin.host;
  options.port = config_.admin.port;
  options.token = config_.admin.token.reveal();
  options.address_file = config_.state + "/admin.address";
  TRY_ASSIGN(admin_, admin::Server::start(options, [this] { return board_.snapshot(); }));
  return {};
}

Status Process::prepare_until_ready() {
  Backoff backoff;
  pipeline::StageOptions stage;
  stage.name = "setup";
  stage.exit_on_stop = exits_on_stop();
  TRY(pipeline::run_stage(stage, board_, backoff, stop_, [this] { return prepare(); }));
  board_.running("setup");
  return {};
}

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
    logging::warn("rows of the source's present shape do not fit the target",
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

pipeline::SupervisorOptions Process::supervisor_options() {
  pipeline::SupervisorOptions options;
  if (captures()) {
    options.capture = capture_options();
    options.monitor = pipeline::MonitorOptions{source_options(config_), retained_wal_limit(config_),
                                               carried_, Millis(5000)};
  }
  if (applies()) options.apply = apply_options();
  return options;
}

pipeline::CaptureOptions Process::capture_options() {
  pipeline::CaptureOptions options;
  options.source = source_options(config_);
  const auto router = std::make_shared<const transform::TableRouter>(make_router(config_));
  options.is_ours = [router](const TableSchema& table) {
    return router->route(table.schema, table.name).has_value();
  };
  pipeline::PublisherOptions& publisher = options.publisher;
  publisher.topic_of = [router](const TableSchema& table) {
    return router->route(table.schema, table.name)->topic;
  };
  publisher.pipeline = config_.pipeline;
  publisher.publisher = publisher_name();
  publisher.group_rows = config_.publish.rows;
  publisher.group_bytes = config_.publish.bytes;
  publisher.group_wait = config_.publish.wait;
  publisher.schema_refresh = shape_refresh();
  options.repeat_interval = shape_refresh();
  options.acknowledge_applied = config_.log.acknowledge == config::Acknowledge::applied;
  options.target_known = applies();
  options.slot_wait = config_.source.slot_wait;
  options.spill_folder = spill_folder(config_);
  options.retained = retained_wal_limit(config_);
  options.exit_on_stop = exits_on_stop();
  options.goal = goal_;
  options.end_at_goal = !applies();
  if (auto latest = capture_store_->latest(checkpoint::Kind::published); latest && *latest) {
    options.manifest_hint = pipeline::ManifestHint{(*latest)->manifest_offset, (*latest)->token};
  }
  options.on_published = [this](const pipeline::Published& group) {
    MILLRACE_FAILPOINT_HERE(capture_checkpoint);
    put_or_warn(*capture_store_, entry_of(checkpoint::Kind::published, config_.pipeline,
                                          group.manifest.last, group.manifest, group.offset));
  };
  options.on_acknowledged = [this](const Watermark& acknowledged, const pipeline::Published& last) {
    put_or_warn(*capture_store_, entry_of(checkpoint::Kind::acknowledged, config_.pipeline,
                                          acknowledged, last.manifest, last.offset));
  };
  return options;
}

// Later manifests may name schema records that stand before an applied one, but none that is older
// than the time after which shapes are repeated: the manifest topic is let go that far behind.
LogOffset Process::releasable_control(LogOffset applied) {
  const SteadyTime now = system_clock().now();
  const Millis refresh = shape_refresh();
  if (applied_marks_.empty() || now - applied_marks_.back().at >= refresh / 8) {
    applied_marks_.push_back({now, applied});
  }
  while (!applied_marks_.empty() && now - applied_marks_.front().at >= 2 * refresh) {
    released_control_ = applied_marks_.front().offset;
    applied_marks_.pop_front();
  }
  return released_control_;
}

// Shapes and the last manifest must be younger than what retention removes.
Millis Process::shape_refresh() const { return std::min(kHour, config_.log.retention / 4); }

pipeline::ApplyOptions Process::apply_options() {
  pipeline::ApplyOptions options;
  options.pipeline = config_.pipeline;
  options.group_rows = config_.apply.group.rows;
  options.group_bytes = config_.apply.group.bytes;
  options.after_capture = captures();
  options.group_wait = config_.apply.group.wait;
  options.applier_wait = config_.target.applier_wait;
  options.exit_on_stop = exits_on_stop();
  options.park = config_.target.on_bad_row == config::OnBadRow::park;
  options.parked_max = config_.target.max_parked;
  options.goal = goal_;
  options.backfill = backfill_.get();
  options.on_applied = [this](const sink::Applied& applied, const Manifest& manifest) {
    MILLRACE_FAILPOINT_HERE(apply_checkpoint);
    put_or_warn(*apply_store_, entry_of(checkpoint::Kind::applied, config_.pipeline,
                                        applied.watermark, manifest, applied.manifest_offset));
    log_->release_before(releasable_control(applied.manifest_offset), manifest.ranges);
  };
  return options;
}

}  // namespace millrace::cli
