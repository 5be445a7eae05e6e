#include "relay/sink/history.h"

#include <algorithm>
#include <array>
#include <utility>

namespace millrace::sink {
namespace {

constexpr std::array<std::pair<JobState, std::string_view>, 6> kStates = {{
    {JobState::waiting, "waiting"},
    {JobState::running, "running"},
    {JobState::paused, "paused"},
    {JobState::done, "done"},
    {JobState::cancelled, "cancelled"},
    {JobState::failed, "failed"},
}};
constexpr std::array<std::pair<JobKind, std::string_view>, 3> kKinds = {{
    {JobKind::initial, "initial"},
    {JobKind::again, "again"},
    {JobKind::keys, "keys"},
}};

template <typename Names, typename Value>
std::string_view name_of(const Names& names, Value value) {
  for (const auto& [known, name] : names) {
    if (known == value) return name;
  }
  return "";
}

template <typename Value, typename Names>
std::optional<Value> value_of(const Names& names, std::string_view text) {
  for (const auto& [value, name] : names) {
    if (name == text) return value;
  }
  return std::nullopt;
}

}  // namespace

std::string_view to_string(JobState state) { return name_of(kStates, state); }
std::string_view to_string(JobKind kind) { return name_of(kKinds, kind); }
std::optional<JobState> parse_job_state(std::string_view text) {
  return value_of<JobState>(kStates, text);
}
std::optional<JobKind> parse_job_kind(std::string_view text) {
  return value_of<JobKind>(kKinds, text);
}

}  // namespace millrace::sink
