// millrace verify: are the target's tables what the source's say, while both are written to? It
// changes no row of theirs and lets nobody wait. What it proved is kept in millrace.proof.
//
// Exit codes: 0 equal, 3 differences, 1 something could not be decided (the last line on stderr
// says what and why).
#include <cstdio>
#include <fstream>
#include <memory>

#include <CLI/CLI.hpp>

#include "connectors/postgres/proofs.h"
#include "relay/cli/command.h"
#include "relay/cli/proof_text.h"
#include "relay/cli/signals.h"
#include "relay/cli/verify_command.h"
#include "relay/cli/wiring.h"

namespace millrace::cli {
namespace {

using chunk::Compared;

struct HistoryArguments {
  bool asked = false;
  uint64_t most = 100;
};

Result<int> show_history(const config::Config& config, const VerifyArguments& arguments,
                         const HistoryArguments& history) {
  postgres::Proofs proofs(target_options(config, nullptr));
  std::optional<std::string> subject;
  if (arguments.tables.size() > 1) {
    return fail(ErrorCode::config, "--history is of one table, or of all", "give --table once");
  }
  if (!arguments.tables.empty()) {
    const auto name = config::parse_table_name(arguments.tables.front());
    // An invariant has a name that need not be a table's.
    subject = name ? config::to_string(*name) : arguments.tables.front();
    if (name) {
      for (const auto& [invariant, sql] : config.verify.invariants) {
        if (invariant == arguments.tables.front()) subject = invariant;
      }
    }
  }
  TRY_ASSIGN(const auto list, proofs.list(subject, history.most));
  std::fputs((arguments.json ? proofs_json(list) : proofs_text(list)).c_str(), stdout);
  return 0;
}

Result<int> verify(const config::Config& config, const VerifyArguments& arguments,
                   std::stop_token stop) {
  TRY_ASSIGN(const VerifyResult result, run_verify(config, arguments, std::move(stop)));
  if (!arguments.report.empty()) {
    std::ofstream file(arguments.report);
    if (!(file << result.json) || !file.flush()) {
      return fail(ErrorCode::fatal, "can not write the report to " + arguments.report);
    }
  }
  std::fputs((arguments.json ? result.json : result.text).c_str(), stdout);
  switch (result.outcome) {
    case VerifyOutcome::equal:
      return 0;
    case VerifyOutcome::different:
      return fail(ErrorCode::negative, result.summary, result.way_out);
    case VerifyOutcome::undecided:
      break;
  }
  return fail(ErrorCode::bad_data, "not decided: " + result.summary,
              result.compared ? "everything else is equal; verify again"
                              : "nothing was compared: see `millrace status`, and verify again");
}

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
  auto* counts = command->add_flag_callback(
      "--counts", [a = arguments] { a->compared = Compared::keys; },
      "which rows there are, by key, and not what they hold");
  command
      ->add_flag_callback(
          "--drift", [a = arguments] { a->compared = Compared::drift; },
          "of each column only whether it is NULL or its DEFAULT on one side alone")
      ->excludes(counts);
  command
      ->add_option("--after", arguments->after,
                   "only keys behind this one: a value or a JSON array")
      ->type_name("KEY");
  command->add_option("--until", arguments->until, "only keys up to this one")->type_name("KEY");
  command->add_option("--by-range", arguments->by_range, "report so many ranges of the key apart")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1000}));
  auto history = std::make_shared<HistoryArguments>();
  command->add_flag("--history", history->asked, "what was proven, where and when; verify nothing");
  command->add_option("--limit", history->most, "of --history: the newest so many")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000}));
  command->add_option("--sample", arguments->sample, "compare a random share of the chunks")
      ->type_name("PERCENT");
  command->add_option("--seed", arguments->seed, "of the sample: the same chunks again");
  command->add_flag("--show-values", arguments->values,
                    "the beginnings of values that differ: they may be secret");
  add_seconds_option(*command, "--wait", arguments->wait_s,
                     "how long to wait for a transaction of the source, or a target that does not "
                     "move, before it is undecided (60s)")
      ->check(CLI::Range(0.0, 86400.0));
  command->add_option("--rounds", arguments->rounds, "looks at a row that is changing")
      ->check(CLI::Range(2, 1000));
  command->add_option("--max-rate", arguments->max_rate, "rows a second to read; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--chunk-rows", arguments->chunk_rows, "rows of a chunk")
      ->check(CLI::Range(uint64_t{10}, uint64_t{1'000'000}));
  command->add_option("--list", arguments->list, "differences that the report lists")
      ->check(CLI::Range(uint64_t{1}, kListMax));
  set_example(*command, "millrace verify -c shop.yaml --report verify.json");
  command->callback([&invocation, arguments, history] {
    invocation.body = [arguments, history](const Context& context) {
      if (history->asked) return show_history(context.config, *arguments, *history);
      const Signals signals(false);
      return verify(context.config, *arguments, signals.stop_token());
    };
  });
}

}  // namespace millrace::cli
