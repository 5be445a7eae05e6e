#include "relay/cli/process.h"

#include <filesystem>
#include <utility>

#include "relay/base/backoff.h"
#include "relay/base/logging.h"
#include "relay/checkpoint/spill.h"
#include "relay/cli/verify_schedule.h"
#include "relay/pipeline/stage.h"

namespace millrace::cli {
namespace {

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

}  // namespace

Process::Process(const Context& context, std::stop_token stop)
    : context_(context),
      config_(context.config),
      stop_(std::move(stop)),
      board_(config_.pipeline, role_name(context.role)) {}

Process::~Process() = default;

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
    const bool proves =
        !context_.until_caught_up || config_.backfill.on_existing == config::OnExisting::verify;
    if (applies() && proves) {
      schedule_ = std::make_unique<VerifySchedule>(config_, shared_, board_, stop_,
                                                   context_.until_caught_up);
    }
    auto ended = pipeline::supervise(*log_, target_.get(), system_clock(), supervisor_options(),
                                     shared_, board_, stop_);
    const auto schedule = std::exchange(schedule_, nullptr);
    if (ended && context_.until_caught_up && schedule) {
      if (const auto existing = schedule->existing()) return fail(*existing);
    }
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

}  // namespace millrace::cli
