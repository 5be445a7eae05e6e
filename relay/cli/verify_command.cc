#include "relay/cli/verify_command.h"

#include <cstdio>
#include <memory>
#include <random>
#include <utility>

#include <unistd.h>

#include "connectors/postgres/verify_session.h"
#include "relay/base/logging.h"
#include "relay/chunk/verify.h"
#include "relay/chunk/verify_plan.h"
#include "relay/source/verify_session.h"

namespace millrace::cli {
namespace {

constexpr Millis kLongStatement{3'600'000};  // sums of whole tables
constexpr Millis kLogEvery{5000};

Result<double> parse_share(const std::string& text) {
  char* end = nullptr;
  const double percent = std::strtod(text.c_str(), &end);
  const std::string_view unit(end);
  if (end == text.c_str() || !(unit == "%" || unit.empty()) || !(percent > 0 && percent <= 100)) {
    return fail(ErrorCode::config, "--sample " + text + " is no share", "write it as 5%");
  }
  return percent / 100;
}

std::string mapping_text(const sink::TableMapping& mapping) {
  std::string text = mapping.source_schema + "." + mapping.source_table + " " +
                     mapping.target_schema + "." + mapping.target_table + " " + mapping.where +
                     "\n";
  for (const auto& mapped : mapping.expressions) {
    text += mapped.target_column + ": " + mapped.sql + "\n";
  }
  for (const std::string& column : mapping.dropped) text += column + ": ~\n";
  return text;
}

class VerifyCommand {
 public:
  VerifyCommand(const config::Config& config, const VerifyArguments& arguments,
                std::stop_token stop)
      : config_(config), arguments_(arguments), stop_(std::move(stop)) {}

  Result<VerifyResult> run() {
    TRY(prepare());
    const std::stop_callback on_stop(stop_, [this] { target_session_->interrupt(); });
    TRY(plan());
    TRY(compare_tables());
    if (arguments_.invariants) TRY(ask_invariants());
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
    TRY_ASSIGN(const auto applied, applied_of(config_, catalog, *target_));
    head_.config_hash = config_hash();
    head_.timeline = applied.watermark.timeline;
    source_ = std::make_unique<source::VerifySession>(options);
    postgres::Options target = target_options(config_, &selected_);
    target.application_name += " verify";
    target_session_ = std::make_unique<postgres::VerifySession>(std::move(target));
    return {};
  }

  // Of what decides the target's rows, and all other options.
  std::string config_hash() {
    std::string text = config::effective(config_);
    for (const sink::TableMapping& one : mappings(config_, &selected_)) text += mapping_text(one);
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
      head_.mapping_hashes[display_name(schema)] = mapping_hash(maps[i]);
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
    options.listed_max = arguments_.list;
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

  VerifyResult finish() {
    if (shown_) std::fputs("\r\x1b[K", stderr);
    return {outcome(report_, invariants_), verify_json(head_, report_, invariants_),
            verify_text(head_, report_, invariants_), verify_summary(report_, invariants_)};
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

std::string mapping_hash(const sink::TableMapping& mapping) {
  return text_hash(mapping_text(mapping));
}

Result<sink::Applied> applied_of(const config::Config& config, source::Catalog& catalog,
                                 sink::Target& target) {
  TRY_ASSIGN(const auto applied, target.applied());
  if (!applied) {
    return fail(ErrorCode::bad_data,
                "the target has applied nothing of pipeline " + config.pipeline,
                "`millrace run` makes and fills it");
  }
  TRY_ASSIGN(const auto facts, catalog.server());
  if (facts.system_identifier != applied->system_identifier) {
    return fail(ErrorCode::refused,
                "the target was made from another source cluster (system identifier " +
                    applied->system_identifier + ", not " + facts.system_identifier + ")",
                "point source.dsn at it");
  }
  return *applied;
}

Result<VerifyResult> run_verify(const config::Config& config, const VerifyArguments& arguments,
                                std::stop_token stop) {
  return VerifyCommand(config, arguments, std::move(stop)).run();
}

}  // namespace millrace::cli
