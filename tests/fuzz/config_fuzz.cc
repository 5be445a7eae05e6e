// Any bytes are a config or a config error: no crash, no throw, and no secret in what is shown.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "relay/config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  constexpr std::string_view kSecret = "hunter2-hunter2-hunter2";
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // Whoever writes the secret into the file himself may see it in a message.
  if (text.find("hunter") != std::string_view::npos) return 0;
  const config::Environment environment =
      [&](const std::string& name) -> std::optional<std::string> {
    if (name.size() > 2) return std::nullopt;
    return std::string(kSecret);
  };
  // No folder: a ${file:…} of the input must not reach files of this machine.
  if (text.find("file:") != std::string_view::npos) return 0;
  const auto config = config::parse(text, "f.yaml", environment);
  if (!config) {
    const Error& error = config.error();
    if (error.code() != ErrorCode::config || error.message().empty()) std::abort();
    // Tables are called by their names, wherever these came from.
    const bool of_tables = error.message().find("tables: ") != std::string::npos;
    if (!of_tables && error.describe().find(kSecret) != std::string::npos) std::abort();
    return 0;
  }
  if (config->tables.empty() || config->pipeline.empty()) std::abort();
  // Secrets of the options that are secret; a slot may be named by the environment.
  const std::string shown = config::effective(*config);
  if (shown.find("source.dsn: ***\n") == std::string::npos) std::abort();
  if (shown.find("target.dsn: ***\n") == std::string::npos) std::abort();
  // Names come back as they are written.
  for (const config::TableEntry& entry : config->tables) {
    const auto back = config::parse_table_name(config::to_string(entry.to));
    if (!entry.pattern && (!back || *back != entry.to)) std::abort();
  }
  return 0;
}
