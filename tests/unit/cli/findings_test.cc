#include "relay/cli/findings.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace millrace;
using namespace millrace::cli;

TEST_CASE("findings_text: blockers first, each with its fix, and a count") {
  const std::vector<CheckFinding> findings{
      {false, "source", "max_slot_wal_keep_size is -1", "set it"},
      {true, "source", "wal_level is replica", "ALTER SYSTEM SET wal_level = 'logical'"},
      {true, "target", "table public.a is missing", ""},
  };
  CHECK(findings_text(findings) ==
        "blocker: source: wal_level is replica; ALTER SYSTEM SET wal_level = 'logical'\n"
        "blocker: target: table public.a is missing\n"
        "note: source: max_slot_wal_keep_size is -1; set it\n"
        "2 blockers\n");
}

TEST_CASE("findings_text: a server's line breaks do not forge a finding") {
  CHECK(findings_text({{true, "source", "a\nok: nothing stands in the way\x1b[2J", ""}}) ==
        "blocker: source: a ok: nothing stands in the way [2J\n1 blocker\n");
}

TEST_CASE("findings_text: nothing found is said") {
  CHECK(findings_text({}) == "ok: nothing stands in the way\n");
}

TEST_CASE("findings_json: what scripts read") {
  const auto json = nlohmann::json::parse(findings_json({{true, "log", "\xff", "fix"}, {}}));
  CHECK(json["ok"] == false);
  CHECK(json["blockers"] == 1);
  REQUIRE(json["findings"].size() == 2);
  CHECK(json["findings"][0]["kind"] == "blocker");
  CHECK(json["findings"][0]["where"] == "log");
  CHECK(json["findings"][0]["fix"] == "fix");
  CHECK(json["findings"][1]["kind"] == "note");
}

TEST_CASE("make_finding: keeps where it happened, and the hint apart") {
  const auto finding = make_finding(
      true, "target", Error(ErrorCode::bad_data, "no such column", "add it").at("table public.a"));
  CHECK(finding.what == "no such column (table public.a)");
  CHECK(finding.fix == "add it");
}
