#include "relay/base/failpoint.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include <doctest/doctest.h>
#include <unistd.h>

using namespace millrace;
using Action = FailpointEntry::Action;

namespace {

FailpointEntry one(const char* text) {
  const auto entries = parse_failpoints(text);
  REQUIRE(entries);
  REQUIRE(entries->size() == 1);
  return entries->front();
}

std::string mistake(const char* text) {
  const auto entries = parse_failpoints(text);
  REQUIRE_FALSE(entries);
  CHECK(entries.error().code() == ErrorCode::config);
  return entries.error().describe();
}

}  // namespace

TEST_CASE("parse_failpoints: a name alone kills at the first time") {
  CHECK(one("apply_commit") ==
        FailpointEntry{Failpoint::apply_commit, 1, false, Action::kill, 0, {}});
}

TEST_CASE("parse_failpoints: count, onwards, action and argument") {
  CHECK(one("capture_produce@70") ==
        FailpointEntry{Failpoint::capture_produce, 70, false, Action::kill, 0, {}});
  CHECK(one("log_write@3+:error") ==
        FailpointEntry{Failpoint::log_write, 3, true, Action::error, 0, {}});
  CHECK(one("apply_write:sleep:250") ==
        FailpointEntry{Failpoint::apply_write, 1, false, Action::sleep, 250, {}});
  CHECK(one("apply_write:hold:/tmp/a:b") ==
        FailpointEntry{Failpoint::apply_write, 1, false, Action::hold, 0, "/tmp/a:b"});
  CHECK(one("apply_write@2:pause").action == Action::pause);
  CHECK(one("apply_write@2:exit").action == Action::exit);
}

TEST_CASE("parse_failpoints: several, and none") {
  const auto two = parse_failpoints("apply_commit,capture_claim@2:exit");
  REQUIRE(two);
  CHECK(two->size() == 2);
  CHECK(two->back().point == Failpoint::capture_claim);
  CHECK(parse_failpoints("")->empty());
}

TEST_CASE("parse_failpoints: what is misspelt is named") {
  CHECK(mistake("aply_commit").find("`aply_commit`: there is no failpoint") != std::string::npos);
  CHECK(mistake("apply_commit@0").find("count") != std::string::npos);
  CHECK(mistake("apply_commit@").find("count") != std::string::npos);
  CHECK(mistake("apply_commit@2x").find("count") != std::string::npos);
  CHECK(mistake("apply_commit:die").find("no such action") != std::string::npos);
  CHECK(mistake("apply_commit:").find("no such action") != std::string::npos);
  CHECK(mistake("apply_commit:sleep").find("argument") != std::string::npos);
  CHECK(mistake("apply_commit:hold").find("argument") != std::string::npos);
  CHECK(mistake("apply_commit:kill:9").find("argument") != std::string::npos);
  CHECK(mistake("apply_commit,,capture_claim").find("no failpoint") != std::string::npos);
}

TEST_CASE("failpoint_names: every name parses") {
  for (const std::string_view name : failpoint_names()) CHECK(parse_failpoints(name));
}

#ifdef MILLRACE_MUTATIONS
TEST_CASE("reach_failpoint: a hold lasts for as long as its file is there") {
  const std::string file = "/tmp/millrace_hold_" + std::to_string(getpid());
  std::ofstream(file).put('x');
  setenv("MILLRACE_FAIL", ("apply_fetch:hold:" + file).c_str(), 1);
  REQUIRE_FALSE(arm_failpoints());
  std::atomic<bool> passed{false};
  std::thread held([&passed] {
    CHECK(reach_failpoint(Failpoint::apply_fetch));
    passed = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK_FALSE(passed);
  std::remove(file.c_str());
  held.join();
  CHECK(passed);
  setenv("MILLRACE_FAIL", "", 1);
  CHECK_FALSE(arm_failpoints());
  unsetenv("MILLRACE_FAIL");
}

TEST_CASE("reach_failpoint: fires at its count, and from then on with +") {
  setenv("MILLRACE_FAIL", "apply_fetch@2:error,apply_stage@2+:error", 1);
  REQUIRE_FALSE(arm_failpoints());
  for (const bool fails : {false, true, false}) {
    CHECK(!reach_failpoint(Failpoint::apply_fetch) == fails);
  }
  for (const bool fails : {false, true, true}) {
    CHECK(!reach_failpoint(Failpoint::apply_stage) == fails);
  }
  CHECK(reach_failpoint(Failpoint::apply_commit));
  setenv("MILLRACE_FAIL", "misspelt", 1);
  CHECK(arm_failpoints() == 2);
  setenv("MILLRACE_FAIL", "", 1);
  CHECK_FALSE(arm_failpoints());
  unsetenv("MILLRACE_FAIL");
}
#endif
