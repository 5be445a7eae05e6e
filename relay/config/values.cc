#include "relay/config/values.h"

#include <algorithm>
#include <array>
#include <optional>

#include "relay/config/reader.h"
#include "relay/config/units.h"

namespace millrace::config {
namespace {

std::string not_built(const Option& option, std::string_view value) {
  return std::string(option.key) + ": " + std::string(value) + " is not built yet";
}

bool refused(const Option& option, std::string_view value) {
  return std::find(option.not_built.begin(), option.not_built.end(), value) !=
         option.not_built.end();
}

std::string list_of(std::span<const std::string_view> names) {
  std::string out;
  for (const auto& name : names) {
    if (!out.empty()) out += " | ";
    out += name;
  }
  return out;
}

std::optional<bool> parse_switch(std::string_view value) {
  constexpr std::array<std::string_view, 3> kOn{"on", "true", "yes"};
  constexpr std::array<std::string_view, 3> kOff{"off", "false", "no"};
  if (std::find(kOn.begin(), kOn.end(), value) != kOn.end()) return true;
  if (std::find(kOff.begin(), kOff.end(), value) != kOff.end()) return false;
  return std::nullopt;
}

struct Setter {
  const Option& option;
  Config& config;
  const std::string& value;
  std::string_view shown;

  std::string wrong(std::string_view what) const {
    return std::string(option.key) + ": " + quoted(shown) + " " + std::string(what);
  }

  std::string operator()(const TextOption& o) const {
    if (value.find('\0') != std::string::npos) return wrong("holds a NUL byte");
    if (o.rule != nullptr) {
      if (auto problem = o.rule(value); !problem.empty()) return wrong(problem);
    }
    o.at(config) = value;
    return {};
  }

  std::string operator()(const SecretOption& o) const {
    if (value.size() < o.least_bytes) {
      return std::string(option.key) +
             (o.least_bytes > 1 ? ": is shorter than " + std::to_string(o.least_bytes) + " bytes"
                                : std::string(": is empty"));
    }
    if (value.find('\0') != std::string::npos)
      return std::string(option.key) + ": holds a NUL byte";
    o.at(config) = Secret(value);
    return {};
  }

  std::string operator()(const SizeOption& o) const {
    const auto size = parse_size(value);
    if (!size) return wrong("is not a size; write it like 64MB (B, KB, MB, GB, TB)");
    if (*size < o.least || *size > o.most) {
      return wrong("must be between " + format_size(o.least) + " and " + format_size(o.most));
    }
    o.at(config) = *size;
    return {};
  }

  std::string operator()(const CountOption& o) const {
    const auto count = parse_integer(value);
    if (!count) return wrong("is not a whole number");
    if (*count < o.least || *count > o.most) {
      return wrong("must be between " + std::to_string(o.least) + " and " + std::to_string(o.most));
    }
    if (*count > 1 && refused(option, ">1")) return not_built(option, "more than 1");
    o.set(config, *count);
    return {};
  }

  std::string operator()(const TimeOption& o) const {
    const auto time = parse_duration(value);
    if (!time) return wrong("is not a time; write it like 500ms (ms, s, m, h, d)");
    if (*time < o.least || *time > o.most) {
      return wrong("must be between " + format_duration(o.least) + " and " +
                   format_duration(o.most));
    }
    o.at(config) = *time;
    return {};
  }

  std::string operator()(const SwitchOption& o) const {
    const auto on = parse_switch(value);
    if (!on) return wrong("is neither on nor off");
    if (*on && refused(option, "on")) return not_built(option, "on");
    o.at(config) = *on;
    return {};
  }

  std::string operator()(const ChoiceOption& o) const {
    const auto found = std::find(o.names.begin(), o.names.end(), value);
    if (found == o.names.end()) {
      return wrong("is none of " + list_of(o.names) +
                   suggestion(value, {o.names.begin(), o.names.end()}));
    }
    if (refused(option, value)) return not_built(option, value);
    o.set(config, static_cast<size_t>(found - o.names.begin()));
    return {};
  }

  // Specials are read elsewhere.
  std::string operator()(const SpecialOption&) const { return {}; }
};

}  // namespace

std::string set_value(const Option& option, Config& config, const std::string& value,
                      std::string_view shown) {
  return std::visit(Setter{option, config, value, shown}, option.kind);
}

}  // namespace millrace::config
