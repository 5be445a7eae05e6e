// millrace verify: are the target's tables what the source's say, while both are written to? It
// changes no row and lets nobody wait.
//
// Exit codes: 0 equal, 3 differences, 1 something could not be decided (the last line on stderr
// says what and why).
#include <cstdio>
#include <fstream>
#include <memory>

#include <CLI/CLI.hpp>

#include "relay/cli/command.h"
#include "relay/cli/signals.h"
#include "relay/cli/verify_command.h"

namespace millrace::cli {
namespace {

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
      return fail(ErrorCode::negative, result.summary,
                  "--report FILE keeps the list; `millrace repair` brings these rows over again");
    case VerifyOutcome::undecided:
      break;
  }
  return fail(ErrorCode::bad_data, "not decided: " + result.summary,
              "everything else is equal; verify again");
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
  command->add_option("--list", arguments->list, "differences that the report lists")
      ->check(CLI::Range(uint64_t{1}, kListMax));
  set_example(*command, "millrace verify -c shop.yaml --report verify.json");
  command->callback([&invocation, arguments] {
    invocation.body = [arguments](const Context& context) {
      const Signals signals(false);
      return verify(context.config, *arguments, signals.stop_token());
    };
  });
}

}  // namespace millrace::cli
