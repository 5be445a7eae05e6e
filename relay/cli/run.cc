// millrace run: prepares what is missing, starts capture and apply, and ends with the exit code of
// the interface: 0 after a clean stop or at the goal, 1, 2 or 4 by the error that ended it.
#include <CLI/CLI.hpp>

#include "relay/base/logging.h"
#include "relay/cli/command.h"
#include "relay/cli/process.h"
#include "relay/cli/signals.h"

namespace millrace::cli {

namespace {

// The log level alone: connections that are open go on with the secrets they were opened with.
void reread(const std::string& file) {
  const auto config = config::load(file);
  if (!config) {
    logging::warn("the config can not be read again; nothing is changed",
                  {{"error", config.error().describe()}});
    return;
  }
  logging::set_level(config->logging.level);
  logging::info("config read again: the log level is in force, everything else after a restart");
}

}  // namespace

Result<int> command_run(const Context& context) {
  Signals signals(true, [&context] { reread(context.config.file); });
  Process process(context, signals.stop_token());
  TRY(process.run());
  return 0;
}

void add_run(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("run", "capture, publish and apply, until stopped");
  add_config_option(*command, invocation);
  static const std::map<std::string, Role> kRoles{
      {"all", Role::all}, {"capture", Role::capture}, {"apply", Role::apply}};
  command->add_option("--role", invocation.context.role, "all | capture | apply")
      ->transform(CLI::CheckedTransformer(kRoles, CLI::ignore_case));
  command->add_flag("--until-caught-up", invocation.context.until_caught_up,
                    "end with 0 when everything that was committed at the start is applied");
  set_example(*command, "millrace run -c millrace.yaml --until-caught-up");
  command->callback([&invocation] { invocation.body = command_run; });
}

}  // namespace millrace::cli
