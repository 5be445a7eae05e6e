#include "relay/base/failpoint.h"

#include <algorithm>
#include <array>
#include <charconv>

#ifdef MILLRACE_MUTATIONS
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include <unistd.h>
#endif

namespace millrace {
namespace {

constexpr std::array kNames = {
#define MILLRACE_FAILPOINT_NAME(name) std::string_view(#name),
    MILLRACE_FAILPOINTS(MILLRACE_FAILPOINT_NAME)
#undef MILLRACE_FAILPOINT_NAME
};

using Action = FailpointEntry::Action;

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failed] = std::from_chars(text.data(), end, value);
  if (text.empty() || failed != std::errc() || rest != end) return {};
  return value;
}

// Takes what stands before `mark` from the front of `text`, and the mark.
std::string_view take_up_to(std::string_view& text, char mark) {
  const size_t at = std::min(text.find(mark), text.size());
  const std::string_view word = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return word;
}

bool take_argument(FailpointEntry& entry, std::string_view text) {
  if (entry.action == Action::hold) entry.path = text;
  if (entry.action == Action::sleep) {
    const auto milliseconds = number(text);
    entry.sleep_ms = milliseconds.value_or(0);
    return milliseconds.has_value();
  }
  return text.empty() != (entry.action == Action::hold);
}

Result<FailpointEntry> parse_entry(std::string_view text) {
  const auto wrong = [text](const std::string& what, const std::string& hint) {
    return fail(ErrorCode::config, "MILLRACE_FAIL, `" + std::string(text) + "`: " + what, hint);
  };
  const size_t colon = text.find(':');
  std::string_view place = text.substr(0, colon);
  std::string_view action =
      colon == std::string_view::npos ? std::string_view("kill") : text.substr(colon + 1);
  FailpointEntry entry;
  const bool counted = place.find('@') != std::string_view::npos;
  const std::string_view name = take_up_to(place, '@');
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) {
    return wrong("there is no failpoint of this name",
                 "`MILLRACE_FAIL=list millrace version` prints them");
  }
  entry.point = static_cast<Failpoint>(found - kNames.begin());
  if (counted) {
    entry.onwards = place.ends_with('+');
    if (entry.onwards) place.remove_suffix(1);
    const auto count = number(place);
    if (!count || *count == 0) return wrong("the count is no number above 0", "name@3, or name@3+");
    entry.count = *count;
  }
  const std::string_view verb = take_up_to(action, ':');
  constexpr std::array kActions = {std::string_view("kill"),  std::string_view("exit"),
                                   std::string_view("pause"), std::string_view("error"),
                                   std::string_view("sleep"), std::string_view("hold")};
  const auto chosen = std::find(kActions.begin(), kActions.end(), verb);
  if (chosen == kActions.end()) {
    return wrong("there is no such action",
                 "kill, exit, pause, error, sleep:MILLISECONDS or hold:FILE");
  }
  entry.action = static_cast<Action>(chosen - kActions.begin());
  if (take_argument(entry, action)) return entry;
  return wrong("the action's argument is wrong",
               "only two have one: sleep:MILLISECONDS and hold:FILE");
}

}  // namespace

std::vector<std::string_view> failpoint_names() { return {kNames.begin(), kNames.end()}; }

Result<std::vector<FailpointEntry>> parse_failpoints(std::string_view text) {
  std::vector<FailpointEntry> entries;
  while (!text.empty()) {
    TRY_ASSIGN(const auto entry, parse_entry(take_up_to(text, ',')));
    entries.push_back(entry);
  }
  return entries;
}

#ifdef MILLRACE_MUTATIONS
namespace {

struct Armed {
  FailpointEntry entry;
  std::atomic<uint64_t> reached{0};
};

// Written by arm_failpoints before there are other threads.
std::vector<std::unique_ptr<Armed>>& armed() {
  static std::vector<std::unique_ptr<Armed>> entries;
  return entries;
}

Status fire(const FailpointEntry& entry, uint64_t count) {
  const std::string name(kNames[static_cast<size_t>(entry.point)]);
  std::fprintf(stderr, "failpoint %s@%llu fires\n", name.c_str(),
               static_cast<unsigned long long>(count));
  switch (entry.action) {
    case Action::kill:
      kill(getpid(), SIGKILL);
      break;
    case Action::exit:
      _exit(86);
    case Action::pause:
      kill(getpid(), SIGSTOP);
      break;
    case Action::error:
      return fail(ErrorCode::retryable, "failpoint " + name);
    case Action::sleep:
      std::this_thread::sleep_for(std::chrono::milliseconds(entry.sleep_ms));
      break;
    case Action::hold:
      while (access(entry.path.c_str(), F_OK) == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      break;
  }
  return {};
}

}  // namespace

std::optional<int> arm_failpoints() {
  const char* text = std::getenv("MILLRACE_FAIL");
  if (text == nullptr) return {};
  if (std::string_view(text) == "list") {
    for (const std::string_view name : kNames) std::printf("%s\n", std::string(name).c_str());
    return 0;
  }
  auto entries = parse_failpoints(text);
  if (!entries) {
    std::fprintf(stderr, "millrace: %s\n", entries.error().describe().c_str());
    return exit_code(entries.error());
  }
  armed().clear();
  for (const FailpointEntry& entry : *entries) {
    armed().push_back(std::make_unique<Armed>());
    armed().back()->entry = entry;
  }
  return {};
}

Status reach_failpoint(Failpoint point) {
  for (const auto& armed_one : armed()) {
    const FailpointEntry& entry = armed_one->entry;
    if (entry.point != point) continue;
    const uint64_t count = ++armed_one->reached;
    if (count == entry.count || (entry.onwards && count > entry.count)) {
      TRY(fire(entry, count));
    }
  }
  return {};
}
#endif

}  // namespace millrace
