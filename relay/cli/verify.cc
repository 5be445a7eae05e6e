// millrace verify: are the target's tables what the source's say, while both are written to? It
// changes no row and lets nobody wait.
//
// Exit codes: 0 equal, 3 differences, 1 something could not be decided (the last line on stderr
// says what and why).
#include "relay/chunk/verify.h"

#include <cstdio>
#include <fstream>
#include <memory>
#include <random>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "connectors/postgres/verify_session.h"
#include "relay/base/logging.h"
#include "relay/chunk/verify_plan.h"
#include "relay/cli/command.h"
#include "relay/cli/signals.h"
#include "relay/cli/verify_text.h"
#include "relay/cli/wiring.h"
#include "relay/source/verify_session.h"

namespace millrace::cli {
namespace {

constexpr Millis kLongStatement{3'600'000};  // sums of whole tables
constexpr Millis kLogEvery{5000};

struct VerifyArguments {
  std::vector<std::string> tables;
  bool json = false;
  bool keys_only = false;
  bool values = false;
  std::string report;
  std::string sample = "100%";
  std::optional<uint64_t> seed;
  double wait_s = 60;
  double max_rate = 0;
  int rounds = 12;
  uint64_t chunk_rows = 5000;
};

Result<double> parse_share(const std::string& text) {
  char* end = nullptr;
  const double percent = std::strtod(text.c_str(), &end);
  const std::string_view unit(end);
  if (end == text.c_str() || !(unit == "%" || unit.empty()) || !(percent > 0 && percent <= 100)) {
    return fail(ErrorCode::config, "--sample " + text + " is no share", "write it as 5%");
  }
  return percent / 100;
}

class VerifyCommand {
 public:
  VerifyCommand(const config::Config& config, const VerifyArguments& arguments,
                std::stop_token stop)
      : config_(config), arguments_(arguments), stop_(std::move(stop)) {}

  Result<int> run() {
    TRY(prepare());
    const std::stop_callback on_stop(stop_, [this] { target_session_->interrupt(); });
    TRY(plan());
    TRY(compare_tables());
    TRY(ask_invariants());
    head_.ended_at = system_clock().wall();
    return finish();
  }

 private:
  Status prepare() {
    head_.started_at = system_clock().wall();
    head_.pipeline = config_.pipeline;
    head_.kind = arguments_.keys_only ? "keys" : "rows";
    TRY_ASSIGN(head_.sample, parse_share(arguments_.sample));
    head_.seed = arguments_.seed.value_or(std::random_device{}());
    source::Options options = source_options(config_);
    options.stop = stop_;
    options.receive_timeout = kLongStatement;
    source::Catalog catalog(options);
    TRY(catalog.connect());
    TRY_ASSIGN(selected_, select_tables(catalog, config_));
    TRY(choose_tables());
    TRY_ASSIGN(target_, make_target(config_, &selected_));
    TRY_ASSIGN(const auto applied, target_->applied());
    if (!applied) {
      return fail(ErrorCode::bad_data,
                  "the target has applied nothing of pipeline " + config_.pipeline,
                  "`millrace run` makes and fills it");
    }
    TRY_ASSIGN(const auto facts, catalog.server());
    if (facts.system_identifier != applied->system_identifier) {
      return fail(ErrorCode::refused,
                  "the target was made from another source cluster (system identifier " +
                      applied->system_identifier + ", not " + facts.system_identifier + ")",
                  "point source.dsn at it");
    }
    head_.config_hash = config_hash();
    head_.timeline = applied->watermark.timeline;
    source_ = std::make_unique<source::VerifySession>(options);
    postgres::Options target = target_options(config_, &selected_);
    target.application_name += " verify";
    target_session_ = std::make_unique<postgres::VerifySession>(std::move(target));
    return {};
  }

  // Of what decides the target's rows, and all other options.
  std::string config_hash() const {
    std::string text = config::effective(config_);
    for (const sink::TableMapping& one : mappings(config_, &selected_)) {
      text += one.source_schema + "." + one.source_table + " " + one.target_schema + "." +
              one.target_table + " " + one.where + "\n";
      for (const auto& mapped : one.expressions) {
        text += mapped.target_column + ": " + mapped.sql + "\n";
      }
      for (const std::string& column : one.dropped) text += column + ": ~\n";
    }
    return text_hash(text);
  }

  Status choose_tables() {
    if (arguments_.tables.empty()) return {};
    SelectedTables chosen;
    for (const std::string& text : arguments_.tables) {
      TRY_ASSIGN(const auto name, config::parse_table_name(text));
      bool found = false;
      for (size_t i = 0; i < selected_.tables.size(); ++i) {
        if (selected_.routes[i].source.schema != name.schema ||
            selected_.routes[i].source.name != name.name) {
          continue;
        }
        chosen.tables.push_back(selected_.tables[i]);
        chosen.routes.push_back(selected_.routes[i]);
        found = true;
      }
      if (!found) {
        return fail(ErrorCode::config,
                    "table " + config::to_string(name) + " is not in the pipeline",
                    "--table takes a table of the source that `tables` selects");
      }
    }
    selected_ = std::move(chosen);
    return {};
  }

  // Tables that can not be compared are in the report, and the others are compared.
  Status plan() {
    const auto maps = mappings(config_, &selected_);
    std::vector<compare::Side> source_sides, target_sides;
    for (size_t i = 0; i < maps.size(); ++i) {
      const TableSchema& schema = *selected_.tables[i].schema;
      TRY_ASSIGN(const auto from, source_->table(schema.schema, schema.name));
      TRY_ASSIGN(const auto to,
                 target_session_->table(maps[i].target_schema, maps[i].target_table));
      auto plan = chunk::plan_table(schema, maps[i], from, to, arguments_.keys_only);
      if (!plan) {
        plan_errors_.push_back(plan.error().describe());
        plan = chunk::TablePlan();
        plan->table = display_name(schema);
        plan->target_table =
            quote_if_needed(maps[i].target_schema) + "." + quote_if_needed(maps[i].target_table);
        plan->keyed = schema.has_key();
      } else {
        plan_errors_.emplace_back();
      }
      source_sides.push_back(plan->source);
      target_sides.push_back(plan->target);
      plans_.push_back(std::move(*plan));
    }
    TRY_ASSIGN(const auto here, source_->run("try the hash", compare::probe_query()));
    TRY_ASSIGN(const auto there, target_session_->run("try the hash", compare::probe_query()));
    const auto hash = here == there ? compare::Hash::plain : compare::Hash::portable;
    source_rows_ = std::make_unique<compare::SqlReader>(*source_, std::move(source_sides), hash);
    target_rows_ =
        std::make_unique<compare::SqlReader>(*target_session_, std::move(target_sides), hash);
    return {};
  }

  chunk::VerifySides sides() {
    chunk::VerifySides sides{*source_, *target_session_, *source_rows_, *target_rows_, {}, {}};
    if (target_->history() != nullptr) {
      sides.jobs = [this]() -> Result<std::vector<sink::CopyJob>> {
        TRY_ASSIGN(auto jobs, target_->history()->jobs());
        return jobs ? std::move(*jobs) : std::vector<sink::CopyJob>();
      };
    }
    sides.progress = [this](const chunk::TableReport& table) { show_progress(table); };
    return sides;
  }

  Status compare_tables() {
    chunk::VerifyOptions options;
    options.chunk_rows = arguments_.chunk_rows;
    options.rounds = arguments_.rounds;
    options.wait = Millis(static_cast<int64_t>(arguments_.wait_s * 1000));
    options.sample = head_.sample;
    options.seed = head_.seed;
    options.rows_per_s_max = arguments_.max_rate;
    options.values = arguments_.values;
    chunk::Verify verify(sides(), system_clock(), options, stop_);
    for (size_t i = 0; i < plans_.size(); ++i) {
      std::string why = plan_errors_[i];
      if (why.empty()) {
        TRY_ASSIGN(why, probe(i));
      }
      if (why.empty()) {
        TRY(verify.table(i, plans_[i]));
        continue;
      }
      chunk::TableReport table;
      table.table = plans_[i].table;
      table.target_table = plans_[i].target_table;
      table.keyed = plans_[i].keyed;
      table.why = "it can not be compared: " + why;
      verify.report().tables.push_back(std::move(table));
    }
    report_ = std::move(verify.report());
    return {};
  }

  // All of them in one snapshot of the target, so that they may lean on each other.
  Status ask_invariants() {
    if (config_.verify.invariants.empty()) return {};
    TRY(target_session_->begin());
    for (const auto& [name, sql] : config_.verify.invariants) {
      InvariantReport one;
      one.name = name;
      const auto violations = target_session_->violations(name, sql);
      if (violations) {
        one.rows = *violations;
        one.holds = *violations == 0;
      } else {
        const ErrorCode code = violations.error().code();
        if (code == ErrorCode::retryable || code == ErrorCode::cancelled) {
          return fail(violations.error());
        }
        one.why = violations.error().describe();
        target_session_->end();  // the failure ended the snapshot
        TRY(target_session_->begin());
      }
      invariants_.push_back(std::move(one));
    }
    target_session_->end();
    return {};
  }

  // Why a side can not be asked: an expression whose function or type it lacks.
  Result<std::string> probe(size_t table) {
    for (compare::SqlReader* side : {source_rows_.get(), target_rows_.get()}) {
      const Status parsed = side->probe(table);
      if (parsed) continue;
      const Error& error = parsed.error();
      if (error.code() == ErrorCode::retryable || error.code() == ErrorCode::cancelled) {
        return fail(error);
      }
      return std::string(side == source_rows_.get() ? "in the source: " : "in the target: ") +
             error.describe();
    }
    return std::string();
  }

  void show_progress(const chunk::TableReport& table) {
    if (::isatty(STDERR_FILENO) == 1) {
      std::fprintf(stderr, "\r%s: %llu rows compared \x1b[K", table.table.c_str(),
                   static_cast<unsigned long long>(table.equal));
      shown_ = true;
      return;
    }
    if (system_clock().now() < next_log_) return;
    if (next_log_ != SteadyTime()) {
      logging::info("verify goes on", {{"table", table.table}, {"equal", table.equal}});
    }
    next_log_ = system_clock().now() + kLogEvery;
  }

  Result<int> finish() {
    if (shown_) std::fputs("\r\x1b[K", stderr);
    const std::string json = verify_json(head_, report_, invariants_);
    if (!arguments_.report.empty()) {
      std::ofstream file(arguments_.report);
      if (!(file << json) || !file.flush()) {
        return fail(ErrorCode::fatal, "can not write the report to " + arguments_.report);
      }
    }
    std::fputs((arguments_.json ? json : verify_text(head_, report_, invariants_)).c_str(), stdout);
    switch (outcome(report_, invariants_)) {
      case VerifyOutcome::equal:
        return 0;
      case VerifyOutcome::different:
        return fail(ErrorCode::negative, verify_summary(report_, invariants_),
                    "--report FILE keeps the list");
      case VerifyOutcome::undecided:
        break;
    }
    return fail(ErrorCode::bad_data, "not decided: " + verify_summary(report_, invariants_),
                "everything else is equal; verify again");
  }

  const config::Config& config_;
  const VerifyArguments& arguments_;
  std::stop_token stop_;
  VerifyHead head_;
  SelectedTables selected_;
  std::unique_ptr<sink::Target> target_;
  std::unique_ptr<source::VerifySession> source_;
  std::unique_ptr<postgres::VerifySession> target_session_;
  std::unique_ptr<compare::SqlReader> source_rows_, target_rows_;
  std::vector<chunk::TablePlan> plans_;
  std::vector<std::string> plan_errors_;
  chunk::VerifyReport report_;
  std::vector<InvariantReport> invariants_;
  SteadyTime next_log_;
  bool shown_ = false;
};

}  // namespace

void add_verify(CLI::App& app, Invocation& invocation) {
  auto* command =
      app.add_subcommand("verify", "compare source and target, row by row, under live writes");
  add_config_option(*command, invocation);
  auto arguments = std::make_shared<VerifyArguments>();
  command->add_option("--table", arguments->tables, "a table of the source; again for more")
      ->type_name("TABLE");
  command->add_flag("--json", arguments->json, "the report as JSON");
  command->add_option("--report", arguments->report, "write the JSON report to this file too")
      ->type_name("FILE");
  command->add_flag("--counts", arguments->keys_only,
                    "which rows there are, by key, and not what they hold");
  command->add_option("--sample", arguments->sample, "compare a random share of the chunks")
      ->type_name("PERCENT");
  command->add_option("--seed", arguments->seed, "of the sample: the same chunks again");
  command->add_flag("--show-values", arguments->values,
                    "the beginnings of values that differ: they may be secret");
  command
      ->add_option("--wait", arguments->wait_s,
                   "seconds to wait for a transaction of the source, or a target that does not "
                   "move, before it is undecided")
      ->check(CLI::Range(0.0, 86400.0));
  command->add_option("--rounds", arguments->rounds, "looks at a row that is changing")
      ->check(CLI::Range(2, 1000));
  command->add_option("--max-rate", arguments->max_rate, "rows a second to read; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--chunk-rows", arguments->chunk_rows, "rows of a chunk")
      ->check(CLI::Range(uint64_t{10}, uint64_t{1'000'000}));
  set_example(*command, "millrace verify -c shop.yaml --report verify.json");
  command->callback([&invocation, arguments] {
    invocation.body = [arguments](const Context& context) {
      const Signals signals(false);
      return VerifyCommand(context.config, *arguments, signals.stop_token()).run();
    };
  });
}

}  // namespace millrace::cli
