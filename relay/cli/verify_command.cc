#include "relay/cli/verify_command.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <random>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "connectors/postgres/proofs.h"
#include "connectors/postgres/verify_session.h"
#include "relay/base/logging.h"
#include "relay/chunk/verify.h"
#include "relay/chunk/verify_plan.h"
#include "relay/cli/backfill_text.h"
#include "relay/cli/command.h"
#include "relay/cli/give_way.h"
#include "relay/cli/proof_text.h"
#include "relay/cli/verify_way_out.h"
#include "relay/source/verify_session.h"

namespace millrace::cli {
namespace {

constexpr Millis kLongStatement{3'600'000};  // sums of whole tables
constexpr Millis kLogEvery{5000};
constexpr const char* kGaveWay = "it was given up: another session waited for its locks";

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

// By chunk::Compared.
constexpr std::array<const char*, 3> kKinds{"rows", "keys", "drift"};

class VerifyCommand {
 public:
  VerifyCommand(const config::Config& config, const VerifyArguments& arguments,
                std::stop_token stop)
      : config_(config), arguments_(arguments), stop_(std::move(stop)) {}

  Result<VerifyResult> run() {
    TRY(prepare());
    const std::stop_callback on_stop(stop_, [this] { target_session_->interrupt(); });
    if (!arguments_.only_invariants) {
      TRY(plan());
      TRY(compare_tables());
    }
    if (arguments_.invariants) TRY(ask_invariants());
    head_.ended_at = system_clock().wall();
    return finish();
  }

 private:
  Status prepare() {
    head_.started_at = system_clock().wall();
    head_.pipeline = config_.pipeline;
    head_.kind = kKinds[static_cast<size_t>(arguments_.compared)];
    if (arguments_.only_invariants) head_.kind = "invariants";
    head_.who = arguments_.who.empty() ? person() : arguments_.who;
    TRY_ASSIGN(head_.sample, parse_share(arguments_.sample));
    head_.seed = arguments_.seed.value_or(std::random_device{}());
    TRY(read_range());
    source::Options options = source_options(config_);
    options.stop = stop_;
    options.receive_timeout = kLongStatement;
    source::Catalog catalog(options);
    TRY(catalog.connect());
    TRY_ASSIGN(selected_, select_tables(catalog, config_));
    TRY(choose_tables());
    postgres::Options target = target_options(config_, &selected_);
    if (arguments_.beside_stream) target = impatient(std::move(target), stop_);
    TRY_ASSIGN(target_, postgres::make_target(target));
    TRY_ASSIGN(const auto applied, applied_of(config_, catalog, *target_));
    head_.config_hash = config_hash();
    head_.timeline = applied.watermark.timeline;
    source_ = std::make_unique<source::VerifySession>(options);
    target.application_name += " verify";
    proofs_ = std::make_unique<postgres::Proofs>(target);
    target_session_ = std::make_unique<postgres::VerifySession>(std::move(target));
    return {};
  }

  // Of what decides the target's rows, and all other options.
  std::string config_hash() {
    std::string text = config::effective(config_);
    for (const sink::TableMapping& one : mappings(config_, &selected_)) text += mapping_text(one);
    return text_hash(text);
  }

  Status read_range() {
    if (!arguments_.after.empty()) {
      TRY_ASSIGN(range_.after, parse_key(arguments_.after));
      head_.scope = "after " + arguments_.after;
    }
    if (!arguments_.until.empty()) {
      TRY_ASSIGN(range_.until, parse_key(arguments_.until));
      head_.scope += (head_.scope.empty() ? "until " : " until ") + arguments_.until;
    }
    if (!head_.scope.empty() && arguments_.tables.size() != 1) {
      return fail(ErrorCode::config, "--after and --until belong to one table",
                  "name it by --table");
    }
    if (head_.sample < 1) {
      head_.scope += fmt::format("{}{:g}% of the chunks, seed {}", head_.scope.empty() ? "" : ", ",
                                 head_.sample * 100, head_.seed);
    }
    return {};
  }

  // The keys that were given have as many values as the table's.
  Status check_range(const TableSchema& table) const {
    size_t columns = 0;
    for (const Column& column : table.columns) columns += column.in_key ? 1 : 0;
    for (const auto* key : {&range_.after, &range_.until}) {
      if (!*key || (*key)->size() == columns) continue;
      if (columns == 0) {
        return fail(ErrorCode::config, display_name(table) + " has no key, so no ranges of keys",
                    "verify it without --after and --until");
      }
      return fail(ErrorCode::config,
                  fmt::format("the key of {} has {} columns, and --after or --until {} values",
                              display_name(table), columns, (*key)->size()),
                  "write them as a JSON array: '[1,\"a\"]'");
    }
    return {};
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
      TRY(check_range(schema));
      TRY_ASSIGN(const auto from, source_->table(schema.schema, schema.name));
      TRY_ASSIGN(auto to, target_session_->table(maps[i].target_schema, maps[i].target_table));
      if (arguments_.compared == chunk::Compared::drift) {
        TRY(target_session_->add_defaults(to, maps[i].target_schema, maps[i].target_table));
      }
      auto plan = chunk::plan_table(schema, maps[i], from, to, arguments_.compared);
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

  Result<std::vector<sink::CopyJob>> jobs() {
    if (target_->history() == nullptr) return std::vector<sink::CopyJob>();
    TRY_ASSIGN(auto jobs, target_->history()->jobs());
    return jobs ? std::move(*jobs) : std::vector<sink::CopyJob>();
  }

  chunk::VerifySides sides() {
    chunk::VerifySides sides{*source_, *target_session_, *source_rows_, *target_rows_, {}, {}};
    sides.jobs = [this] { return jobs(); };
    sides.progress = [this](const chunk::TableReport& table) { show_progress(table); };
    return sides;
  }

  chunk::VerifyOptions verify_options() const {
    chunk::VerifyOptions options;
    options.chunk_rows = arguments_.chunk_rows;
    options.rounds = arguments_.rounds;
    options.wait = Millis(static_cast<int64_t>(arguments_.wait_s * 1000));
    options.sample = head_.sample;
    options.seed = head_.seed;
    options.rows_per_s_max = arguments_.max_rate;
    options.values = arguments_.values;
    options.listed_max = arguments_.list;
    options.ranges = arguments_.by_range;
    if (arguments_.beside_stream) {
      options.chunks_at_once = 8;
      options.batch_time = Millis(500);
    }
    return options;
  }

  Status compare_tables() {
    chunk::Verify verify(sides(), system_clock(), verify_options(), stop_);
    for (size_t i = 0; i < plans_.size(); ++i) {
      TRY_ASSIGN(const bool wanted, is_wanted(plans_[i].table));
      if (!wanted) continue;
      result_.subjects.push_back(plans_[i].table);
      std::string why = plan_errors_[i];
      if (why.empty()) {
        TRY_ASSIGN(why, probe(i));
      }
      if (why.empty()) {
        TRY(compare(verify, i));
      } else {
        verify.report().tables.push_back(undecided(i, "it can not be compared: " + why));
      }
      keep(proof_of(head_, verify.report().tables.back(), verify.report().epoch));
    }
    report_ = std::move(verify.report());
    return {};
  }

  Result<bool> is_wanted(const std::string& table) {
    if (arguments_.proven.contains(table)) {
      result_.left_out.push_back(table);
      return false;
    }
    if (!arguments_.beside_stream) return true;
    TRY_ASSIGN(const auto found, jobs());
    const bool copying = std::any_of(found.begin(), found.end(), [&](const sink::CopyJob& job) {
      return job.open() && job.table == table;
    });
    result_.is_copying = result_.is_copying || copying;
    return !copying;
  }

  Status compare(chunk::Verify& verify, size_t number) {
    std::optional<GiveWay> polite;
    if (arguments_.beside_stream) polite.emplace(*target_session_);
    const auto compared = verify.table(number, plans_[number], range_);
    const bool gave_way = polite && polite->end();
    if (gave_way) target_session_->close();  // what was interrupted may not have been a statement
    if (compared) return {};
    if (!gave_way || stop_.stop_requested()) return fail(compared.error());
    verify.report().tables.push_back(undecided(number, kGaveWay));
    return {};
  }

  chunk::TableReport undecided(size_t number, std::string why) const {
    chunk::TableReport table;
    table.table = plans_[number].table;
    table.target_table = plans_[number].target_table;
    table.keyed = plans_[number].keyed;
    table.why = std::move(why);
    table.started_at = table.ended_at = system_clock().wall();
    return table;
  }

  // The answer does not depend on it.
  void keep(const Proof& proof) {
    const auto kept = proofs_->add(proof, static_cast<uint64_t>(config_.verify.keep));
    if (kept || is_history_failing_) return;
    is_history_failing_ = true;
    logging::warn("what was proven can not be kept in the target",
                  {{"error", kept.error().describe()}});
  }

  // All of them in one snapshot of the target, so that they may lean on each other.
  Status ask_invariants() {
    if (config_.verify.invariants.empty()) return {};
    TRY_ASSIGN(auto place, target_session_->begin());
    for (const auto& [name, sql] : config_.verify.invariants) {
      if (arguments_.proven.contains(name)) {
        result_.left_out.push_back(name);
        continue;
      }
      InvariantReport one;
      one.name = name;
      one.started_at = system_clock().wall();
      TRY(ask(one, sql));
      if (!one.why.empty()) {  // the failure ended the snapshot
        target_session_->end();
        TRY_ASSIGN(place, target_session_->begin());
      }
      one.ended_at = system_clock().wall();
      result_.subjects.push_back(name);
      keep(proof_of(head_, one, place.applied, place.epoch));
      invariants_.push_back(std::move(one));
    }
    target_session_->end();
    return {};
  }

  Status ask(InvariantReport& one, const std::string& sql) {
    std::optional<GiveWay> polite;
    if (arguments_.beside_stream) polite.emplace(*target_session_);
    auto violations = target_session_->violations(one.name, sql);
    const bool gave_way = polite && polite->end();
    if (gave_way) target_session_->close();
    if (violations) {
      one.rows = violations->rows;
      one.holds = violations->rows == 0;
      one.examples = std::move(violations->examples);
      if (gave_way) return fail(ErrorCode::retryable, kGaveWay);  // the snapshot is gone
      return {};
    }
    const ErrorCode code = violations.error().code();
    const bool ends = code == ErrorCode::retryable || code == ErrorCode::cancelled;
    if (ends && (!gave_way || stop_.stop_requested())) return fail(violations.error());
    one.why = gave_way ? kGaveWay : violations.error().describe();
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
    if (arguments_.beside_stream) return;
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
    result_.outcome = outcome(report_, invariants_);
    result_.json = verify_json(head_, report_, invariants_);
    result_.text = verify_text(head_, report_, invariants_);
    result_.summary = verify_summary(report_, invariants_);
    result_.compared = std::any_of(report_.tables.begin(), report_.tables.end(),
                                   [](const chunk::TableReport& one) { return one.compared > 0; });
    if (result_.outcome == VerifyOutcome::different) {
      result_.way_out =
          verify_way_out(report_, invariants_, parked_rows(*target_), arguments_.report);
    }
    return std::move(result_);
  }

  const config::Config& config_;
  const VerifyArguments& arguments_;
  std::stop_token stop_;
  VerifyHead head_;
  SelectedTables selected_;
  std::unique_ptr<sink::Target> target_;
  std::unique_ptr<source::VerifySession> source_;
  std::unique_ptr<postgres::VerifySession> target_session_;
  std::unique_ptr<postgres::Proofs> proofs_;
  compare::Range range_;
  bool is_history_failing_ = false;
  VerifyResult result_;
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
