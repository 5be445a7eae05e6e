// Shorthands of the config tests: a small valid file, and parsing with a made-up environment.
#pragma once

#include <map>
#include <string>

#include "relay/config/config.h"

namespace millrace::config {

inline const std::string kMinimal =
    "pipeline: shop\n"
    "source: {dsn: 'postgresql://a@db.old/shop'}\n"
    "target: {dsn: 'postgresql://a@db.new/shop'}\n"
    "tables: [public.customers]\n";

inline Environment no_environment() {
  return [](const std::string&) -> std::optional<std::string> { return std::nullopt; };
}

inline Environment environment_of(std::map<std::string, std::string> variables) {
  return [variables](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

inline Result<Config> parse_text(const std::string& text,
                                 const Environment& environment = no_environment()) {
  return parse(text, "shop.yaml", environment);
}

// The message of the one error that parsing `text` gives; "" when it is accepted.
inline std::string mistakes_of(const std::string& text) {
  const auto config = parse_text(text);
  if (config) return "";
  return config.error().message();
}

}  // namespace millrace::config
