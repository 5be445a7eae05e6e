// millrace log: the log as JSON lines, for people and jq.
#include <cstdio>
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>

#include "relay/cli/command.h"
#include "relay/cli/log_cat.h"
#include "relay/cli/signals.h"
#include "relay/cli/wiring.h"

namespace millrace::cli {
namespace {

struct LogCommandOptions {
  std::string from;
  std::string to;
  LogCatOptions cat;
};

Result<std::unique_ptr<log::Log>> open_to_read(const config::Config& config) {
  std::error_code ignored;
  if (config.log.kind == config::LogKind::embedded &&
      !std::filesystem::exists(log_folder(config), ignored)) {
    return fail(ErrorCode::negative, "there is no log yet in " + log_folder(config),
                "`millrace setup` or `millrace run` makes it");
  }
  return open_log(config, true);
}

bool print_line(const std::string& line) {
  std::fputs(line.c_str(), stdout);
  return std::fputc('\n', stdout) != EOF;
}

Result<int> cat(const config::Config& config, LogCommandOptions options) {
  if (!options.from.empty()) {
    TRY_ASSIGN(options.cat.from, parse_place(options.from));
  }
  if (!options.to.empty()) {
    TRY_ASSIGN(options.cat.to, parse_place(options.to));
  }
  const Signals signals(false);
  TRY_ASSIGN(const auto log, open_to_read(config));
  const bool follow = options.cat.follow;
  TRY(log_cat(*log, options.cat, signals.stop_token(), [follow](const std::string& line) {
    const bool printed = print_line(line);
    return follow ? printed && std::fflush(stdout) == 0 : printed;
  }));
  return 0;
}

Result<int> describe(const config::Config& config) {
  const Signals signals(false);
  TRY_ASSIGN(const auto log, open_to_read(config));
  TRY_ASSIGN(const auto text, log_describe(*log, signals.stop_token()));
  print_line(text);
  return 0;
}

}  // namespace

void add_log(CLI::App& app, Invocation& invocation) {
  auto* group = app.add_subcommand("log", "the log as JSON lines");
  group->require_subcommand(1);
  set_example(*group, "millrace log cat -c shop.yaml | jq -c 'select(.op == \"update\") | .key'");
  auto options = std::make_shared<LogCommandOptions>();

  auto* cat_command = group->add_subcommand("cat", "published rows, in source order");
  add_config_option(*cat_command, invocation);
  cat_command->add_option("--from", options->from, "LSN, position or time to begin at");
  cat_command->add_option("--to", options->to, "LSN, position or time to end before");
  cat_command->add_option("--limit", options->cat.limit, "the first so many lines, and no more")
      ->check(CLI::Range(1, 1'000'000'000));
  cat_command->add_option("--topic", options->cat.topic, "rows of this topic only");
  cat_command->add_flag("--follow,-f", options->cat.follow, "wait for more, until stopped");
  cat_command->add_flag("--control", options->cat.control,
                        "claims, schemas and manifests instead of rows");
  set_example(*cat_command, "millrace log cat -c shop.yaml --from 2026-11-20T10:00Z | jq .key");
  cat_command->callback([&invocation, options] {
    invocation.body = [options](const Context& context) { return cat(context.config, *options); };
  });

  auto* describe_command = group->add_subcommand("describe", "what the log holds, as one object");
  add_config_option(*describe_command, invocation);
  set_example(*describe_command, "millrace log describe -c shop.yaml");
  describe_command->callback([&invocation] {
    invocation.body = [](const Context& context) { return describe(context.config); };
  });
}

}  // namespace millrace::cli
