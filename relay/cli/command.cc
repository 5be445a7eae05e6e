#include "relay/cli/command.h"

#include <cmath>
#include <cstdlib>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

namespace millrace::cli {

void add_config_option(CLI::App& command, Invocation& invocation) {
  command
      .add_option("-c,--config", invocation.config_file,
                  "the pipeline's YAML file; else $MILLRACE_CONFIG, or millrace.yaml here")
      ->type_name("FILE");
  command.add_flag("-v,--verbose", invocation.verbose, "log what is done, not only what happens");
  command.add_option("--log-format", invocation.log_format, "form of the lines on stderr")
      ->type_name("")
      ->check(CLI::IsMember({"text", "json"}));
}

void set_example(CLI::App& command, const std::string& example) {
  command.footer("Example:\n  " + example);
}

CLI::Option* add_seconds_option(CLI::App& command, const std::string& name, double& seconds,
                                const std::string& description) {
  const auto in_seconds = [](std::string& text) -> std::string {
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    const std::string unit(end);
    for (const auto& [known, factor] :
         {std::pair("", 1.0), std::pair("s", 1.0), std::pair("ms", 0.001), std::pair("m", 60.0),
          std::pair("h", 3600.0), std::pair("d", 86400.0)}) {
      if (end == text.c_str() || unit != known || !std::isfinite(number)) continue;
      text = fmt::format("{}", number * factor);
      return {};
    }
    return text + " is no time: write seconds, or a number with ms, s, m, h or d";
  };
  return command.add_option(name, seconds, description)
      ->type_name("TIME")
      ->transform(CLI::Validator(in_seconds, ""));
}

std::string person() {
  char host[256] = "localhost";
  gethostname(host, sizeof(host) - 1);
  const passwd* user = getpwuid(getuid());
  return std::string(user != nullptr ? user->pw_name : std::to_string(getuid())) + "@" + host;
}

void add_not_built(CLI::App& parent, Invocation& invocation, const std::string& name) {
  auto* command = parent.add_subcommand(name, "not built yet")->group("");
  command->allow_extras();
  command->set_help_flag();  // its --help, too, says that it is not built
  std::string full = parent.get_parent() != nullptr ? parent.get_name() + " " + name : name;
  command->callback([&invocation, full] {
    invocation.needs_config = false;
    invocation.body = [full](const Context&) -> Result<int> {
      return fail(ErrorCode::config, "`millrace " + full + "` is not built yet",
                  "docs/roadmap.md says what is; `millrace --help` lists what can be used");
    };
  });
}

}  // namespace millrace::cli
