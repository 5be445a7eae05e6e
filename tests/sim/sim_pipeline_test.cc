// The simulator's program: histories for a while, one history again, and that planted bugs are
// found.
//
//   MILLRACE_SIM_SECONDS=600 sim_pipeline       search longer than a test run does (of CPU time)
//   MILLRACE_SIM_SEED=N sim_pipeline            that history alone, with its trace
//   MILLRACE_SIM_KIND=crashes …                 N was found among the histories of crashes alone
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <string>

#include <doctest/doctest.h>

#include "relay/base/logging.h"
#include "relay/base/mutation.h"
#include "tests/sim/history.h"

namespace millrace::sim {
namespace {

constexpr uint64_t kFirstSeed = 1;

enum class Kind { everything, crashes };

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? value : nullptr;
}

Outcome live(uint64_t seed, Kind kind, bool tracing = false) {
  logging::set_level(logging::Level::error);
  History history(seed, kind == Kind::crashes, tracing);
  return history.run();
}

std::string replay(uint64_t seed, Kind kind) {
  return "replay: " + std::string(kind == Kind::crashes ? "MILLRACE_SIM_KIND=crashes " : "") +
         "MILLRACE_SIM_SEED=" + std::to_string(seed) + " build/dev/tests/sim/sim_pipeline";
}

// A loaded machine searches as far as an idle one.
double cpu_seconds() {
  return static_cast<double>(std::clock()) / static_cast<double>(CLOCKS_PER_SEC);
}

struct Search {
  uint64_t histories = 0, faults = 0, steps = 0, transactions = 0, commits = 0;
  std::map<std::string, uint64_t, std::less<>> kinds;
  uint64_t seed = 0;  // of the first violation
  std::string violated;
};

// Until a violation, the end of the time, or so many histories.
Search search(Kind kind, double seconds, uint64_t histories_max) {
  const double begun = cpu_seconds();
  Search found;
  for (uint64_t seed = kFirstSeed; found.histories < histories_max; ++seed) {
    if (cpu_seconds() - begun > seconds) break;
    const Outcome outcome = live(seed, kind);
    ++found.histories;
    found.steps += outcome.steps;
    found.transactions += outcome.transactions;
    found.commits += outcome.commits;
    for (const auto& [name, count] : outcome.faults) {
      found.faults += count;
      found.kinds[name] += count;
    }
    if (outcome.violated.empty()) continue;
    found.seed = seed;
    found.violated = outcome.violated;
    break;
  }
  return found;
}

void print(const char* what, const Search& found) {
  std::printf(
      "%s: %llu histories from seed %llu, %llu faults, %llu transactions, %llu commits, %llu "
      "steps\n",
      what, static_cast<unsigned long long>(found.histories),
      static_cast<unsigned long long>(kFirstSeed), static_cast<unsigned long long>(found.faults),
      static_cast<unsigned long long>(found.transactions),
      static_cast<unsigned long long>(found.commits), static_cast<unsigned long long>(found.steps));
  for (const auto& [name, count] : found.kinds) {
    std::printf("  %8llu %s\n", static_cast<unsigned long long>(count), name.c_str());
  }
}

double budget_seconds() {
  const char* text = environment("MILLRACE_SIM_SECONDS");
  return text ? std::strtod(text, nullptr) : 20;
}

bool replaying() { return environment("MILLRACE_SIM_SEED") != nullptr; }

void check_kind(const char* name, Kind kind) {
  const Search found = search(kind, budget_seconds() / 2, UINT64_MAX);
  print(name, found);
  INFO(replay(found.seed, kind));
  CHECK(found.violated == "");
  CHECK(found.histories > 10);
}

TEST_CASE("pipeline: every invariant holds, whatever fails") {
  if (!replaying()) check_kind("everything", Kind::everything);
}

TEST_CASE("pipeline: crashes and lost replies alone never end in a refusal") {
  if (!replaying()) check_kind("crashes", Kind::crashes);
}

TEST_CASE("pipeline: the same seed is the same history") {
  if (replaying()) return;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const Outcome first = live(seed, Kind::everything, true);
    const Outcome again = live(seed, Kind::everything, true);
    CHECK(first.trace.size() > 10);
    REQUIRE(first.trace == again.trace);
    REQUIRE(first.steps == again.steps);
  }
}

TEST_CASE("pipeline: replay of one seed") {
  if (!replaying()) return;
  const char* named = environment("MILLRACE_SIM_KIND");
  const Kind kind = named && std::string(named) == "crashes" ? Kind::crashes : Kind::everything;
  const auto seed = std::strtoull(environment("MILLRACE_SIM_SEED"), nullptr, 10);
  const Outcome outcome = live(seed, kind, true);
  for (const std::string& line : outcome.trace) std::printf("%s\n", line.c_str());
  CHECK(outcome.violated == "");
}

#ifdef MILLRACE_MUTATIONS
// A rule is switched off, and some history must show it.
void check_found(const char* rule, Kind kind, uint64_t histories_max) {
  if (replaying()) return;
  set_mutations(rule);
  const Search found = search(kind, 300, histories_max);  // a sanitizer takes its time
  set_mutations("");
  std::printf("without %s: %s (seed %llu, after %llu histories)\n", rule, found.violated.c_str(),
              static_cast<unsigned long long>(found.seed),
              static_cast<unsigned long long>(found.histories));
  INFO("within ", histories_max, " histories");
  CHECK(found.violated != "");
}

TEST_CASE("planted: acknowledged when it was merely received") {
  check_found("ack_received", Kind::everything, 1000);
}
TEST_CASE("planted: acknowledged when the manifest is durable, but not read back") {
  check_found("no_read_back", Kind::everything, 5000);
}
TEST_CASE("planted: position and rows in two transactions") {
  check_found("no_atomic", Kind::everything, 1000);
}
TEST_CASE("planted: the position moves without looking where it stood") {
  check_found("no_fence", Kind::everything, 5000);
}
TEST_CASE("planted: tokens and numbers of rows are not checked") {
  check_found("no_manifest_check", Kind::everything, 5000);
}
TEST_CASE("planted: rows that the target has already are applied again") {
  check_found("no_overlap_check", Kind::everything, 5000);
}
#endif

}  // namespace
}  // namespace millrace::sim
