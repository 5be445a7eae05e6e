#include "relay/pipeline/status.h"

#include <array>
#include <utility>

namespace millrace::pipeline {
namespace {

constexpr std::array<std::pair<HealthState, std::string_view>, 5> kHealthNames{{
    {HealthState::ok, "ok"},
    {HealthState::catching_up, "catching_up"},
    {HealthState::throttled, "throttled"},
    {HealthState::blocked, "blocked"},
    {HealthState::stopped, "stopped"},
}};

}  // namespace

std::string_view to_string(HealthState state) {
  for (const auto& [value, name] : kHealthNames) {
    if (value == state) return name;
  }
  return "unknown";
}

std::optional<HealthState> parse_health(std::string_view text) {
  for (const auto& [value, name] : kHealthNames) {
    if (name == text) return value;
  }
  return std::nullopt;
}

}  // namespace millrace::pipeline
