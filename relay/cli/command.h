// Commands: what main.cc has read from the command line, and how a command is registered.
//
// A command is one file with one `void add_x(CLI::App&, Invocation&)`: it adds its subcommand and
// options, and sets `invocation.body` in the callback. main.cc parses, loads the config, runs the
// body and turns its error into the last line on stderr and the exit code.
//
// Data goes to stdout, everything else to stderr. One thread, unless a command starts more.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "relay/base/logging.h"
#include "relay/base/result.h"
#include "relay/config/config.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace millrace::cli {

enum class Role { all, capture, apply };

struct Context {
  config::Config config;
  logging::Level log_level = logging::Level::info;
  logging::Format log_format = logging::Format::text;
  // run
  Role role = Role::all;
  bool until_caught_up = false;
};

// The value is the exit code (0, or 3 for a negative check).
using Body = std::function<Result<int>(const Context&)>;

// Filled by the command line's callbacks.
struct Invocation {
  std::string config_file;
  bool verbose = false;
  std::string log_format;  // empty: what the config says
  bool needs_config = true;
  Context context;  // role and until_caught_up are set by `run`
  Body body;
};

// relay/cli/run.cc. Blocks until stopped; the exit code is 0 after a clean stop.
Result<int> command_run(const Context& context);

void add_check(CLI::App& app, Invocation& invocation);
void add_setup(CLI::App& app, Invocation& invocation);
void add_run(CLI::App& app, Invocation& invocation);
void add_status(CLI::App& app, Invocation& invocation);
void add_offsets(CLI::App& app, Invocation& invocation);
void add_backfill(CLI::App& app, Invocation& invocation);
void add_letters(CLI::App& app, Invocation& invocation);
void add_log(CLI::App& app, Invocation& invocation);
void add_teardown(CLI::App& app, Invocation& invocation);
void add_verify(CLI::App& app, Invocation& invocation);
void add_repair(CLI::App& app, Invocation& invocation);
void add_version(CLI::App& app, Invocation& invocation);
void add_docs_config(CLI::App& app,
                     Invocation& invocation);  // hidden: prints docs/configuration.md

// `-c FILE`, -v and --log-format, for every command that reads a config; and the example that ends
// its
// --help.
void add_config_option(CLI::App& command, Invocation& invocation);
void set_example(CLI::App& command, const std::string& example);
// A time: seconds, or a number with ms, s, m, h or d ("90", "1.5", "500ms", "2m").
CLI::Option* add_seconds_option(CLI::App& command, const std::string& name, double& seconds,
                                const std::string& description);
// Who runs the command, for journals: "user@host".
std::string person();
// Promised, not built: not listed, and says so with exit code 2 when it is called.
void add_not_built(CLI::App& parent, Invocation& invocation, const std::string& name);

}  // namespace millrace::cli
