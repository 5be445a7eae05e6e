// millrace setup: target metadata, publication, topics, and then slot and origin of the stream.
//
// Idempotent. The slot comes last: from then on the source keeps WAL for us.
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include "relay/base/logging.h"
#include "relay/cli/command.h"
#include "relay/cli/signals.h"
#include "relay/cli/wiring.h"
#include "relay/pipeline/setup_stream.h"

namespace millrace::cli {
namespace {

Result<int> print_sql(const config::Config& config) {
  source::Catalog catalog(source_options(config));
  TRY_ASSIGN(const auto selected, select_tables(catalog, config));
  TRY_ASSIGN(const auto target, make_target(config, &selected));
  std::string on_source;
  std::string on_target;
  TRY(target->setup(selected.schemas(), &on_target));
  TRY(setup_publication(config, catalog, selected, &on_source));
  std::printf("-- On the target:\n%s\n-- On the source:\n%s\n", on_target.c_str(),
              on_source.c_str());
  std::printf("-- Topics, made by `millrace setup`: %s", config.log.manifest_topic.c_str());
  for (const log::TopicSpec& topic : selected.topics(config))
    std::printf(", %s", topic.name.c_str());
  std::printf(
      "\n-- The slot %s is made by `millrace setup` itself, which publishes in the same step\n"
      "-- where the stream begins. One made by hand is taken for that beginning only by a\n"
      "-- `millrace run` in one process while log and target know nothing of this pipeline.\n",
      config.source.slot.c_str());
  return 0;
}

Result<int> command_setup(const config::Config& config) {
  Signals signals;
  source::Catalog catalog(source_options(config));
  TRY_ASSIGN(const auto selected, select_tables(catalog, config));
  TRY_ASSIGN(const auto log, open_log(config));
  TRY_ASSIGN(const auto target, make_target(config, &selected));
  TRY(setup_around_stream(config, catalog, *log, *target, selected));
  TRY_ASSIGN(const auto applied, target->applied());
  pipeline::StreamSetup setup;
  setup.source = source_options(config);
  setup.pipeline = config.pipeline;
  setup.publisher = publisher_name();
  if (applied) setup.applied = applied->watermark;
  TRY_ASSIGN(const bool created,
             pipeline::setup_stream(setup, *log, system_clock(), signals.stop_token()));
  logging::info("set up", {{"pipeline", config.pipeline},
                           {"tables", selected.tables.size()},
                           {"slot", config.source.slot},
                           {"slot_created", created}});
  return 0;
}

}  // namespace

void add_setup(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand(
      "setup", "create publication, slot, topics and target metadata; may be repeated");
  add_config_option(*command, invocation);
  auto print = std::make_shared<bool>(false);
  command->add_flag("--print-sql", *print, "print what would be run, and run nothing");
  set_example(*command, "millrace setup -c shop.yaml --print-sql");
  command->callback([&invocation, print] {
    invocation.body = [print](const Context& context) {
      return *print ? print_sql(context.config) : command_setup(context.config);
    };
  });
}

}  // namespace millrace::cli
