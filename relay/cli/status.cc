// millrace status: what the running process says, or what source and target say when there is none.
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "relay/admin/status_json.h"
#include "relay/base/backoff.h"
#include "relay/cli/command.h"
#include "relay/cli/live_status.h"
#include "relay/cli/runnable.h"
#include "relay/cli/signals.h"
#include "relay/cli/status_text.h"

namespace millrace::cli {
namespace {

constexpr Millis kWatchInterval{1000};

struct StatusOptions {
  bool json = false;
  bool watch = false;
};

Status print_once(const config::Config& config, const StatusOptions& options, bool clear) {
  TRY_ASSIGN(const auto status, live_status(config));
  // One line an object when watched, so that a pipe reads it line by line.
  const std::string text = options.json
                               ? admin::status_to_json(status, options.watch ? -1 : 2) + "\n"
                               : runnable(status_text(status), config.file);
  if (clear) std::fputs("\x1b[H\x1b[2J", stdout);
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
  return {};
}

Result<int> command_status(const config::Config& config, const StatusOptions& options) {
  if (!options.watch) {
    TRY(print_once(config, options, false));
    return 0;
  }
  const Signals signals(false);
  const bool clear = !options.json && ::isatty(STDOUT_FILENO) == 1;
  do {
    TRY(print_once(config, options, clear));
    if (std::ferror(stdout) != 0) return 0;  // nobody reads any more
  } while (sleep_for(signals.stop_token(), kWatchInterval));
  return 0;
}

}  // namespace

void add_status(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("status", "positions, lag, slot and health");
  add_config_option(*command, invocation);
  auto options = std::make_shared<StatusOptions>();
  command->add_flag("--json", options->json, "as JSON, with stable keys");
  command->add_flag("--watch", options->watch, "again every second, until stopped");
  set_example(*command, "millrace status -c shop.yaml --json | jq .lag");
  command->callback([&invocation, options] {
    invocation.body = [options](const Context& context) {
      return command_status(context.config, *options);
    };
  });
}

}  // namespace millrace::cli
