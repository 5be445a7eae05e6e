// millrace backfill: copies of what is there already, started and steered by an operator.
//
// The jobs stand in the target (millrace.progress); the process that applies picks up what is
// changed there within two seconds. All of it works beside a running process.
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include "relay/chunk/postgres_source.h"
#include "relay/cli/backfill_text.h"
#include "relay/cli/command.h"
#include "relay/cli/live_status.h"
#include "relay/cli/runnable.h"
#include "relay/cli/status_text.h"
#include "relay/cli/wiring.h"

namespace millrace::cli {
namespace {

using sink::CopyJob;
using sink::JobState;

struct BackfillCommand {
  std::vector<std::string> tables;
  std::string after, until, where;
  bool replace = false;
  bool dry_run = false;
  bool json = false;
};

// The target and its box, and what the config selects.
struct Opened {
  SelectedTables selected;
  std::unique_ptr<sink::Target> target;
  sink::HistoryBox* box = nullptr;
  std::vector<CopyJob> jobs;
  Lsn applied;
};

Result<Opened> open(const config::Config& config, bool asks_source) {
  Opened out;
  source::Catalog catalog(source_options(config));
  if (asks_source) {
    TRY(catalog.connect());
    TRY_ASSIGN(out.selected, select_tables(catalog, config));
  }
  TRY_ASSIGN(out.target, make_target(config, asks_source ? &out.selected : nullptr));
  TRY_ASSIGN(const auto applied, out.target->applied());  // connects
  if (applied) out.applied = applied->watermark.end_lsn;
  out.box = out.target->history();
  auto jobs = out.box != nullptr ? out.box->jobs() : std::nullopt;
  if (!jobs) return fail(std::move(jobs).error());
  if (!*jobs) {
    return fail(ErrorCode::config, "the target has no place for copies yet",
                "run `millrace setup` first");
  }
  out.jobs = std::move(**jobs);
  return out;
}

Result<std::vector<std::string>> names_of(const std::vector<std::string>& tables) {
  std::vector<std::string> out;
  for (const std::string& text : tables) {
    TRY_ASSIGN(const auto name, config::parse_table_name(text));
    out.push_back(config::to_string(name));
  }
  return out;
}

// The tables that are meant: those named, or all that can be read in order.
Result<std::vector<std::string>> meant(const Opened& opened, const BackfillCommand& command) {
  TRY_ASSIGN(const auto named, names_of(command.tables));
  std::vector<std::string> out;
  for (const TableSchemaPtr& table : opened.selected.schemas()) {
    const std::string name = display_name(*table);
    const bool asked = std::find(named.begin(), named.end(), name) != named.end();
    if (!named.empty() && !asked) continue;
    if (!table->has_key()) {
      if (asked) {
        return fail(ErrorCode::config,
                    name + " has no key, so no order to read it by; nothing was changed",
                    "give it a primary key, or copy it by hand");
      }
      logging::warn("left out: a table without a key has no order to read it by",
                    {{"table", name}});
      continue;
    }
    out.push_back(name);
  }
  for (const std::string& name : named) {
    if (std::find(out.begin(), out.end(), name) == out.end()) {
      return fail(ErrorCode::config, "`tables` has no " + name + "; nothing was changed",
                  "name a table of the config, as SQL writes it");
    }
  }
  return out;
}

struct Planned {
  CopyJob job;
  std::optional<uint64_t> rows;
};

Result<Planned> plan(chunk::JobSource& source, const std::string& table,
                     const BackfillCommand& command) {
  Planned out;
  CopyJob& job = out.job;
  job.kind = sink::JobKind::again;
  job.table = table;
  job.where = command.where;
  job.replace = command.replace;
  job.who = person();
  if (!command.after.empty()) {
    TRY_ASSIGN(job.after, parse_key(command.after));
  }
  if (!command.until.empty()) {
    TRY_ASSIGN(job.until, parse_key(command.until));
  }
  TRY_ASSIGN(const source::TableToRead read, source.table(table));
  const source::RowRange range{job.after, job.until, job.where};
  TRY(source.check(read, range));
  TRY_ASSIGN(out.rows, source.estimate(read, range));
  return out;
}

Error has_open_job(const CopyJob& job) {
  return Error(ErrorCode::refused,
               job.table + " has an open copy already, job " + std::to_string(job.id) + " (" +
                   std::string(sink::to_string(job.state)) + "); nothing was changed",
               "wait for it, or `millrace backfill cancel --table " + shell_word(job.table) + "`");
}

Result<int> start(const config::Config& config, const BackfillCommand& command) {
  TRY_ASSIGN(const Opened opened, open(config, true));
  TRY_ASSIGN(const auto tables, meant(opened, command));
  if (tables.size() > 1 && !(command.after + command.until + command.where).empty()) {
    return fail(ErrorCode::config, "--after, --until and --where belong to one table",
                "name it by --table");
  }
  const auto source = chunk::postgres_source(source_options(config));
  std::vector<Planned> planned;
  for (const std::string& table : tables) {
    for (const CopyJob& job : opened.jobs) {
      if (job.open() && job.table == table) return fail(has_open_job(job));
    }
    TRY_ASSIGN(Planned one, plan(*source, table, command));
    planned.push_back(std::move(one));
  }
  std::vector<PlannedCopy> shown;
  for (Planned& one : planned) {
    if (!command.dry_run) {
      TRY_ASSIGN(one.job.id, opened.box->add_job(one.job));
    }
    shown.push_back({one.job.id, one.job.table, one.rows});
  }
  std::fputs(planned_text(shown, command.json).c_str(), stdout);
  return 0;
}

// pause, resume, cancel: every job that is in one of the states, of the tables that are named.
Result<int> move_jobs(const config::Config& config, const BackfillCommand& command,
                      const std::vector<JobState>& from, std::optional<JobState> to,
                      const std::string& done) {
  TRY_ASSIGN(const Opened opened, open(config, false));
  TRY_ASSIGN(const auto named, names_of(command.tables));
  size_t moved = 0;
  for (const CopyJob& job : opened.jobs) {
    const bool asked =
        named.empty() || std::find(named.begin(), named.end(), job.table) != named.end();
    if (!asked || std::find(from.begin(), from.end(), job.state) == from.end()) continue;
    // A job that has its floor goes on where it was.
    const JobState next = to.value_or(job.floor ? JobState::running : JobState::waiting);
    TRY(opened.box->set_state(job.id, from, next,
                              next == JobState::paused ? "paused by " + person() : ""));
    TRY(opened.box->journal(person(),
                            done + " copy " + std::to_string(job.id) + " of " + job.table));
    logging::info(done, {{"table", job.table}, {"job", job.id}});
    ++moved;
  }
  if (moved > 0) return 0;
  return fail(ErrorCode::negative, "there is no copy that could be " + done,
              "`millrace backfill status` shows what there is");
}

Result<int> pause(const config::Config& config, const BackfillCommand& command) {
  return move_jobs(config, command, {JobState::waiting, JobState::running}, JobState::paused,
                   "paused");
}

Result<int> resume(const config::Config& config, const BackfillCommand& command) {
  return move_jobs(config, command, {JobState::paused}, std::nullopt, "resumed");
}

Result<int> cancel(const config::Config& config, const BackfillCommand& command) {
  return move_jobs(config, command, {JobState::waiting, JobState::running, JobState::paused},
                   JobState::cancelled, "cancelled");
}

Result<int> status(const config::Config& config, const BackfillCommand& command) {
  TRY_ASSIGN(const Opened opened, open(config, false));
  TRY_ASSIGN(const auto named, names_of(command.tables));
  std::vector<CopyJob> jobs;
  for (const CopyJob& job : opened.jobs) {
    if (named.empty() || std::find(named.begin(), named.end(), job.table) != named.end()) {
      jobs.push_back(job);
    }
  }
  LiveCopies live;
  if (const auto process = process_status(config); process && process->role != "capture") {
    live = process->backfill;
  }
  std::fputs((command.json ? jobs_json(jobs, opened.applied, live)
                           : runnable(jobs_text(jobs, opened.applied, live), config.file))
                 .c_str(),
             stdout);
  return 0;
}

using Run = Result<int> (*)(const config::Config&, const BackfillCommand&);

CLI::App* add(CLI::App& parent, Invocation& invocation, std::shared_ptr<BackfillCommand> options,
              const std::string& name, const std::string& description, Run run) {
  auto* command = parent.add_subcommand(name, description);
  add_config_option(*command, invocation);
  command->add_option("--table", options->tables, "only this table; may be given several times")
      ->type_name("TABLE");
  command->callback([&invocation, options, run] {
    invocation.body = [options, run](const Context& context) {
      return run(context.config, *options);
    };
  });
  return command;
}

}  // namespace

void add_backfill(CLI::App& app, Invocation& invocation) {
  auto* group = app.add_subcommand("backfill", "copy rows that are at the source already");
  group->require_subcommand(1);
  set_example(*group, "millrace backfill start -c shop.yaml --table public.customers");
  auto options = std::make_shared<BackfillCommand>();

  auto* begin = add(*group, invocation, options, "start", "copy tables once more", start);
  begin->add_option("--after", options->after, "only keys behind this one: a value or a JSON array")
      ->type_name("KEY");
  begin->add_option("--until", options->until, "only keys up to this one")->type_name("KEY");
  begin->add_option("--where", options->where, "only rows for which this holds at the source")
      ->type_name("SQL");
  begin->add_flag("--replace", options->replace,
                  "also rows that are in the target, unless the stream has changed them since");
  begin->add_flag("--dry-run", options->dry_run, "say how much it would be, and change nothing");
  begin->add_flag("--json", options->json, "as JSON");
  set_example(*begin, "millrace backfill start -c shop.yaml --table public.orders --after 5000");

  set_example(*add(*group, invocation, options, "pause", "stop copying for now", pause),
              "millrace backfill pause -c shop.yaml");
  set_example(*add(*group, invocation, options, "resume", "go on behind the last chunk", resume),
              "millrace backfill resume -c shop.yaml");
  set_example(*add(*group, invocation, options, "cancel", "give a copy up", cancel),
              "millrace backfill cancel -c shop.yaml --table public.orders");
  auto* show = add(*group, invocation, options, "status", "how far each copy has come", status);
  show->add_flag("--json", options->json, "as JSON");
  set_example(*show, "millrace backfill status -c shop.yaml --json");
}

}  // namespace millrace::cli
