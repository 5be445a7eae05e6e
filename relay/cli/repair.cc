// millrace repair: brings the rows over again that a report of `millrace verify` names, by a job of
// the process that applies, under versions: what the stream brings meanwhile stays. Then it
// verifies these tables.
//
// Exit codes: 0 equal, 3 still different, 1 undecided or not done, 2 and 4 the report is refused
// and nothing was changed.
#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "relay/chunk/postgres_source.h"
#include "relay/cli/command.h"
#include "relay/cli/repair_plan.h"
#include "relay/cli/signals.h"
#include "relay/cli/verify_command.h"
#include "relay/cli/wiring.h"

namespace millrace::cli {
namespace {

using sink::CopyJob;
using sink::JobState;

constexpr Millis kLookEvery{200};
constexpr Millis kPickedUpWithin{10'000};
constexpr Millis kLogEvery{5000};
constexpr size_t kKeysAtOnce = 500;
constexpr std::streamsize kReportBytesMax = 100 << 20;

struct RepairArguments {
  std::vector<std::string> tables;
  std::string report;
  bool dry_run = false;
  bool delete_extra = false;
  bool json = false;
};

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamsize size = file ? static_cast<std::streamsize>(file.tellg()) : -1;
  std::string text;
  if (size >= 0 && size <= kReportBytesMax) {
    file.seekg(0);
    text.assign(std::istreambuf_iterator<char>(file), {});
    if (!file.bad()) return text;
  }
  return fail(ErrorCode::config,
              size > kReportBytesMax ? path + " is too large for a report of `millrace verify`"
                                     : "can not read the report " + path,
              "make one by `millrace verify --report FILE`");
}

class RepairCommand {
 public:
  RepairCommand(const config::Config& config, const RepairArguments& arguments,
                std::stop_token stop)
      : config_(config), arguments_(arguments), stop_(std::move(stop)) {}

  Result<int> run() {
    TRY(plan());
    if (tables_.empty()) {
      std::fputs(arguments_.json ? repair_json(tables_, arguments_.dry_run, "").c_str()
                                 : "the report has no difference: there is nothing to repair\n",
                 stdout);
      return 0;
    }
    TRY(look_at_source());
    if (arguments_.dry_run) {
      show("");
      return 0;
    }
    TRY(add_jobs());
    TRY(wait_for_jobs());
    return verify();
  }

 private:
  Status plan() {
    TRY_ASSIGN(const std::string report, read_file(arguments_.report));
    source::Catalog catalog(source_options(config_));
    TRY(catalog.connect());
    TRY_ASSIGN(selected_, select_tables(catalog, config_));
    TRY_ASSIGN(target_, make_target(config_, &selected_));
    TRY_ASSIGN(const sink::Applied applied, applied_of(config_, catalog, *target_));
    RepairScope scope;
    scope.pipeline = config_.pipeline;
    scope.epoch = applied.epoch;
    for (const std::string& text : arguments_.tables) {
      TRY_ASSIGN(const auto name, config::parse_table_name(text));
      scope.tables.push_back(config::to_string(name));
    }
    TRY_ASSIGN(tables_, read_report(report, scope, repairables()));
    TRY_ASSIGN(const auto jobs, read_jobs());
    for (const TableRepair& table : tables_) {
      for (const CopyJob& job : jobs) {
        if (!job.open() || job.table != table.table) continue;
        return fail(ErrorCode::refused,
                    fmt::format("{} has an open copy already, job {} ({}); nothing was changed",
                                job.table, job.id, sink::to_string(job.state)),
                    "wait for it, or `millrace backfill cancel --table " + job.table + "`");
      }
    }
    return {};
  }

  std::vector<RepairableTable> repairables() const {
    std::vector<RepairableTable> out;
    const auto maps = mappings(config_, &selected_);
    for (size_t i = 0; i < maps.size(); ++i) {
      const TableSchema& schema = *selected_.tables[i].schema;
      RepairableTable table;
      table.table = display_name(schema);
      for (const Column& column : schema.columns) {
        if (column.in_key) table.key_columns.push_back(column.name);
      }
      table.mapping_hash = mapping_hash(maps[i]);
      table.filtered = !maps[i].where.empty();
      out.push_back(std::move(table));
    }
    return out;
  }

  Result<std::vector<CopyJob>> read_jobs() {
    sink::HistoryBox* const box = target_->history();
    auto jobs = box != nullptr ? box->jobs() : std::nullopt;
    if (!jobs) return fail(std::move(jobs).error());
    if (*jobs) return std::move(**jobs);
    return fail(ErrorCode::config, "the target has no place for copies yet",
                "run `millrace setup` first");
  }

  // Also shows, before anything is written, that the source understands every key.
  Status look_at_source() {
    source::Options options = source_options(config_);
    options.stop = stop_;
    const auto source = chunk::postgres_source(options);
    for (TableRepair& table : tables_) {
      TRY_ASSIGN(const source::TableToRead read, source->table(table.table));
      std::vector<sink::KeyText> absent;
      for (size_t from = 0; from < table.keys.size(); from += kKeysAtOnce) {
        std::vector<sink::KeyText> keys;
        for (size_t i = from; i < std::min(from + kKeysAtOnce, table.keys.size()); ++i) {
          keys.push_back(table.keys[i].key);
        }
        const auto piece = source->read_keys(read, keys, absent);
        if (piece) continue;
        Error error = piece.error();
        if (error.code() == ErrorCode::retryable || error.code() == ErrorCode::cancelled) {
          return fail(std::move(error));
        }
        return fail(std::move(error)
                        .with_code(ErrorCode::config)
                        .at("table " + table.table + ", keys of the report; nothing was changed"));
      }
      set_actions(table, absent, arguments_.delete_extra);
    }
    return {};
  }

  // All or none. The journal first: it must not lack what was done.
  Status add_jobs() {
    sink::HistoryBox& box = *target_->history();
    for (TableRepair& table : tables_) {
      const auto job = repair_job(table, arguments_.delete_extra, person());
      if (!job) continue;
      TRY(box.journal(person(), repair_journal(table, *job)));
      auto added = box.add_job(*job);
      if (added) {
        table.job = *added;
        logging::info("a repair is asked for",
                      {{"table", table.table}, {"job", table.job}, {"rows", job->keys.size()}});
        continue;
      }
      take_back();
      return fail(std::move(added).error());
    }
    return {};
  }

  void take_back() {
    constexpr std::array kFrom{JobState::waiting, JobState::running, JobState::paused};
    for (const TableRepair& table : tables_) {
      if (table.job == 0) continue;
      (void)target_->history()->set_state(table.job, kFrom, JobState::cancelled,
                                          "the repair of another table could not be added");
    }
  }

  // Those of this repair.
  Result<std::vector<CopyJob>> ours() {
    TRY_ASSIGN(auto jobs, read_jobs());
    std::erase_if(jobs, [this](const CopyJob& job) {
      return std::none_of(tables_.begin(), tables_.end(),
                          [&job](const TableRepair& table) { return table.job == job.id; });
    });
    return jobs;
  }

  Status wait_for_jobs() {
    const SteadyTime began = system_clock().now();
    bool said = false;
    while (true) {
      auto jobs = ours();
      if (!jobs && jobs.error().code() != ErrorCode::retryable) return fail(jobs.error());
      if (jobs) {
        const bool goes_on = std::any_of(jobs->begin(), jobs->end(), [](const CopyJob& job) {
          return job.state == JobState::waiting || job.state == JobState::running;
        });
        if (!goes_on) return ended(*jobs);
        const bool waits = std::all_of(jobs->begin(), jobs->end(), [](const CopyJob& job) {
          return job.state == JobState::waiting;
        });
        show_progress(*jobs);
        if (waits && !said && system_clock().now() - began > kPickedUpWithin) {
          say_nobody_came();
          said = true;
        }
      }
      if (!system_clock().sleep_for(stop_, kLookEvery)) return fail(stopped());
    }
  }

  void say_nobody_came() {
    clear_progress();
    logging::warn("nobody has begun the repair yet; it waits on",
                  {{"because",
                    "no process applies this pipeline, or it waits for a transaction "
                    "of the source or another copy"},
                   {"which", "millrace status"},
                   {"start_one", "millrace run"}});
  }

  Error stopped() {
    clear_progress();
    std::string jobs;
    for (const TableRepair& table : tables_) {
      if (table.job == 0) continue;
      jobs += fmt::format("{}{} ({})", jobs.empty() ? "" : ", ", table.job, table.table);
    }
    return Error(ErrorCode::cancelled,
                 "stopped; the process that applies carries job " + jobs + " through all the same",
                 "`millrace backfill status` shows it, `millrace backfill cancel --table TABLE` "
                 "gives it up");
  }

  Status ended(const std::vector<CopyJob>& jobs) {
    clear_progress();
    for (const CopyJob& job : jobs) {
      if (job.state == JobState::done) {
        logging::info("repaired", {{"table", job.table}, {"job", job.id}, {"rows", job.rows_done}});
        continue;
      }
      return fail(ErrorCode::bad_data,
                  fmt::format("the repair of {}, job {}, is {}{}{}", job.table, job.id,
                              sink::to_string(job.state), job.why.empty() ? "" : ": ", job.why),
                  job.open() ? "mend that, and `millrace backfill resume --table " + job.table +
                                   "`, or `cancel`; then verify again"
                             : "verify again, and repair by the new report");
    }
    return {};
  }

  Result<int> verify() {
    VerifyArguments arguments;
    arguments.invariants = false;
    for (const TableRepair& table : tables_) arguments.tables.push_back(table.table);
    TRY_ASSIGN(const VerifyResult result, run_verify(config_, arguments, stop_));
    show(result.json);
    if (!arguments_.json) std::fputs(result.text.c_str(), stdout);
    switch (result.outcome) {
      case VerifyOutcome::equal:
        return 0;
      case VerifyOutcome::different:
        return fail(ErrorCode::negative, "after the repair: " + result.summary,
                    arguments_.delete_extra
                        ? "verify again, and repair by the new report"
                        : "extra rows are deleted by --delete-extra only; else verify again, and "
                          "repair by the new report");
      case VerifyOutcome::undecided:
        break;
    }
    return fail(ErrorCode::bad_data, "repaired, and not decided: " + result.summary,
                result.compared ? "everything else is equal; `millrace verify` again"
                                : "nothing was compared: see `millrace status`, and "
                                  "`millrace verify` again");
  }

  void show(const std::string& verified) const {
    const std::string text = arguments_.json ? repair_json(tables_, arguments_.dry_run, verified)
                                             : repair_text(tables_, arguments_.dry_run);
    std::fputs(text.c_str(), stdout);
  }

  void show_progress(const std::vector<CopyJob>& jobs) {
    uint64_t done = 0, all = 0;
    for (const CopyJob& job : jobs) done += job.rows_done;
    for (const TableRepair& table : tables_) all += table.job > 0 ? table.keys.size() : 0;
    if (::isatty(STDERR_FILENO) == 1) {
      std::fprintf(stderr, "\r%llu of %llu rows \x1b[K", static_cast<unsigned long long>(done),
                   static_cast<unsigned long long>(all));
      shown_ = true;
      return;
    }
    if (system_clock().now() < next_log_) return;
    if (next_log_ != SteadyTime()) {
      logging::info("the repair goes on", {{"rows", done}, {"of", all}});
    }
    next_log_ = system_clock().now() + kLogEvery;
  }

  void clear_progress() {
    if (shown_) std::fputs("\r\x1b[K", stderr);
    shown_ = false;
  }

  const config::Config& config_;
  const RepairArguments& arguments_;
  std::stop_token stop_;
  SelectedTables selected_;
  std::unique_ptr<sink::Target> target_;
  std::vector<TableRepair> tables_;
  SteadyTime next_log_;
  bool shown_ = false;
};

}  // namespace

void add_repair(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("repair", "bring the rows over again that verify found");
  add_config_option(*command, invocation);
  auto arguments = std::make_shared<RepairArguments>();
  command->add_option("--report", arguments->report, "what `millrace verify --report` wrote")
      ->type_name("FILE")
      ->required();
  command->add_option("--table", arguments->tables, "a table of the report; again for more")
      ->type_name("TABLE");
  command->add_flag("--delete-extra", arguments->delete_extra,
                    "delete rows that the source does not have; else they stay");
  command->add_flag("--dry-run", arguments->dry_run, "say what would be done, and change nothing");
  command->add_flag("--json", arguments->json, "as JSON");
  set_example(*command, "millrace repair -c shop.yaml --report verify.json --dry-run");
  command->callback([&invocation, arguments] {
    invocation.body = [arguments](const Context& context) {
      const Signals signals(false);
      return RepairCommand(context.config, *arguments, signals.stop_token()).run();
    };
  });
}

}  // namespace millrace::cli
