// millrace version, and the hidden millrace docs-config.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "relay/cli/command.h"

namespace millrace::cli {

void add_version(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("version", "print the version");
  set_example(*command, "millrace version");
  command->callback([&invocation] {
    invocation.needs_config = false;
    invocation.body = [](const Context&) -> Result<int> {
      std::printf("millrace %s\n", MILLRACE_VERSION);
      return 0;
    };
  });
}

void add_docs_config(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("docs-config", "print docs/configuration.md")->group("");
  set_example(*command, "millrace docs-config > docs/configuration.md");
  command->callback([&invocation] {
    invocation.needs_config = false;
    invocation.body = [](const Context&) -> Result<int> {
      std::fputs(config::reference_markdown().c_str(), stdout);
      return 0;
    };
  });
}

}  // namespace millrace::cli
