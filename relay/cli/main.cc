// millrace: reads the command line and the config, runs one command, and says how it ended.
//
// Exit codes: 0 done, 1 stopped by an error, 2 usage or config (nothing was touched), 3 a negative
// check, 4 refused for safety. The last line on stderr of a failing command says what, why and what
// to do.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <vector>

#include <CLI/CLI.hpp>

#include "relay/base/failpoint.h"
#include "relay/cli/command.h"
#include "relay/cli/runnable.h"

namespace millrace::cli {
namespace {

constexpr int kUsage = 2;

void add_commands(CLI::App& app, Invocation& invocation) {
  add_check(app, invocation);
  add_setup(app, invocation);
  add_run(app, invocation);
  add_status(app, invocation);
  add_offsets(app, invocation);
  add_backfill(app, invocation);
  add_letters(app, invocation);
  add_log(app, invocation);
  add_teardown(app, invocation);
  add_verify(app, invocation);
  add_repair(app, invocation);
  add_version(app, invocation);
  add_docs_config(app, invocation);
  add_not_built(app, invocation, "replay");
}

// CLI11 calls a misspelt command a missing one, and answers its --help.
std::string unknown_command(const CLI::App& app, const std::string& group = "") {
  const auto parsed = app.get_subcommands();
  if (!parsed.empty()) return unknown_command(*parsed.front(), parsed.front()->get_name() + " ");
  if (app.get_require_subcommand_min() == 0) return {};
  const auto rest = app.remaining();
  const bool unknown = !rest.empty() && !rest[0].starts_with('-');
  return unknown ? "there is no command `" + group + rest[0] + "`" : std::string();
}

void say(const Context& context, const std::string& line) {
  if (context.log_format == logging::Format::json) {
    logging::error("command failed", {{"error", line}});
  } else {
    std::fprintf(stderr, "millrace: %s\n", line.c_str());
  }
}

int report(const Context& context, Error error) {
  std::string hint = runnable(error.hint(), context.config.file);
  error = std::move(error).with_hint(std::move(hint));
  say(context, error.describe());
  return exit_code(error);
}

// Every mistake of the file, a line each, and then what to do.
int report_mistakes(const Context& context, const std::string& file, const Error& error) {
  const std::string& text = error.message();
  if (text.find('\n') == std::string::npos) return report(context, error);
  size_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) {
    const size_t end = std::min(text.find('\n', at), text.size());
    say(context, text.substr(at, end - at));
    at = end + 1;
  }
  say(context,
      std::to_string(count) + " mistakes in " + file + ", nothing was touched; " + error.hint());
  return exit_code(error);
}

void begin_logging(const Invocation& invocation, Context& context) {
  context.log_level = invocation.verbose ? logging::Level::debug : context.config.logging.level;
  context.log_format = context.config.logging.format;
  if (!invocation.log_format.empty()) {
    context.log_format =
        invocation.log_format == "json" ? logging::Format::json : logging::Format::text;
  }
  logging::init_logging(context.log_level, context.log_format);
}

// Not by CLI11's envname(): it asks the environment for every command, not only for the one that
// was given, so that one variable for all of them would be overwritten where -c had set it.
std::string config_found() {
  const char* chosen = std::getenv("MILLRACE_CONFIG");
  if (chosen != nullptr && *chosen != '\0') return chosen;
  return std::filesystem::exists(kConfigHere) ? kConfigHere : "";
}

int run_command(Invocation& invocation) {
  Context& context = invocation.context;
  context.config.logging.level = logging::Level::info;
  begin_logging(invocation, context);
  if (invocation.needs_config) {
    if (invocation.config_file.empty()) invocation.config_file = config_found();
    if (invocation.config_file.empty()) {
      return report(context, Error(ErrorCode::config, "--config is required",
                                   "name the pipeline's file by -c FILE or MILLRACE_CONFIG, or "
                                   "run this where millrace.yaml is"));
    }
    auto config = config::load(invocation.config_file);
    if (!config) return report_mistakes(context, invocation.config_file, config.error());
    context.config = std::move(*config);
    begin_logging(invocation, context);
  }
  const auto code = invocation.body(context);
  if (!code) return report(context, code.error());
  // What was printed counts only when it arrived: a full disk must not look like success.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    say(context, "the output could not be written; is the disk full?");
    return 1;
  }
  return *code;
}

// In reverse, as CLI11 wants them; `help X Y` is another way to write `X Y --help`.
std::vector<std::string> arguments_of(int argc, char** argv) {
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  if (!words.empty() && words.front() == "help") {
    words.erase(words.begin());
    if (words.empty() || (words.back() != "--help" && words.back() != "-h")) {
      words.emplace_back("--help");
    }
  }
  std::reverse(words.begin(), words.end());
  return words;
}

int parse_and_run(int argc, char** argv) {
  Invocation invocation;
  CLI::App app("Millrace keeps a Postgres database derived from another one, through a log.",
               "millrace");
  app.require_subcommand(1);
  app.footer(
      "Begin with `millrace check -c FILE`. `millrace help COMMAND` has an example of each.");
  app.set_version_flag("-V,--version", std::string("millrace ") + MILLRACE_VERSION,
                       "print the version");
  add_commands(app, invocation);
  try {
    app.parse(arguments_of(argc, argv));
  } catch (const CLI::ParseError& error) {
    const std::string unknown = unknown_command(app);
    // --help and --version are printed to stdout.
    if (error.get_exit_code() == 0 && unknown.empty()) return app.exit(error);
    std::fprintf(stderr, "millrace: %s; see `millrace --help`\n",
                 unknown.empty() ? error.what() : unknown.c_str());
    return kUsage;
  }
  return run_command(invocation);
}

}  // namespace
}  // namespace millrace::cli

int main(int argc, char** argv) {
  // Nothing of ours throws across a folder's edge; what a library throws ends here.
  try {
    if (const auto code = millrace::arm_failpoints()) return *code;
    return millrace::cli::parse_and_run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "millrace: unexpected: %s; please report this\n", error.what());
    return 1;
  }
}
