// Process: one `millrace run`: opens its folders, prepares, runs the stages, and shows itself.
//
//   open folders ─► admin port ─► prepare (tried again while the cause may pass) ─► supervise
//                                    └──── a damaged embedded log is put aside, once ────┘
//
// One thread; the stages have their own.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <stop_token>

#include "relay/admin/server.h"
#include "relay/base/result.h"
#include "relay/checkpoint/store.h"
#include "relay/cli/command.h"
#include "relay/cli/wiring.h"
#include "relay/pipeline/shared.h"
#include "relay/pipeline/status_board.h"
#include "relay/pipeline/supervisor.h"

namespace millrace::cli {

class VerifySchedule;

class Process {
 public:
  Process(const Context& context, std::stop_token stop);
  ~Process();

  // Returns after a clean stop or at the goal. Errors: what ended it.
  Status run();

 private:
  bool captures() const { return context_.role != Role::apply; }
  bool applies() const { return context_.role != Role::capture; }
  bool exits_on_stop() const;

  Status check_role() const;
  Status open_folders();
  Status open_offsets();
  Result<std::unique_ptr<log::Log>> open_or_rebuild_log();
  bool may_rebuild_log(const Error& error) const;
  Status put_log_aside(const Error& error);
  Result<std::unique_ptr<checkpoint::Store>> open_store(const std::string& folder);
  Status start_admin();
  Status prepare_until_ready();
  Status prepare();
  Status prepare_target(const SelectedTables* selected);
  Status check_cluster(source::Catalog& catalog) const;
  Status guard_slot(source::Catalog& catalog) const;
  Status guard_publication(source::Catalog& catalog) const;
  Status publish_tables(source::Catalog& catalog, const SelectedTables& selected);
  Status find_goal(source::Catalog& catalog);
  pipeline::SupervisorOptions supervisor_options();
  pipeline::CaptureOptions capture_options();
  pipeline::ApplyOptions apply_options();
  LogOffset releasable_control(LogOffset applied);
  Millis shape_refresh() const;

  const Context& context_;
  const config::Config& config_;
  std::stop_token stop_;
  pipeline::Shared shared_;
  pipeline::StatusBoard board_;
  std::unique_ptr<checkpoint::Store> capture_store_;
  std::unique_ptr<checkpoint::Store> apply_store_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<sink::Target> target_;
  std::unique_ptr<chunk::Backfill> backfill_;
  std::unique_ptr<VerifySchedule> schedule_;
  std::unique_ptr<admin::Server> admin_;
  std::vector<source::TableName> carried_;  // the tables that the stream carries
  std::string applied_from_;  // the source cluster's system identifier, as the target has it
  struct AppliedMark {
    SteadyTime at;
    LogOffset offset;
  };
  std::deque<AppliedMark> applied_marks_;  // oldest first; the apply thread's
  LogOffset released_control_ = 0;
  bool rebuilt_log_ = false;
  std::optional<Lsn> goal_;
};

}  // namespace millrace::cli
