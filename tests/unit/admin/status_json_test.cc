#include "relay/admin/status_json.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/unit/admin/sample_status.h"

using namespace millrace;
using namespace millrace::admin;

TEST_CASE("status_to_json: the documented keys") {
  const auto json = nlohmann::json::parse(status_to_json(pipeline::sample_status()));
  CHECK(json["pipeline"] == "shop");
  CHECK(json["health"]["state"] == "blocked");
  CHECK(json["health"]["why"] == "apply: connection refused");
  CHECK(json["positions"]["received"]["lsn"] == "16/40");
  CHECK(json["positions"]["received"]["position"] == "1:16/20");
  CHECK(json["positions"]["received"]["at"] == "2025-11-20T10:00:00.123456Z");
  CHECK(json["positions"]["acknowledged"]["at"].is_null());
  CHECK(json["lag"]["bytes"] == 48);
  CHECK(json["lag"]["seconds"] == 1.25);
  CHECK(json["slot"]["name"] == "millrace_shop");
  CHECK(json["slot"]["active"] == true);
  CHECK(json["slot"]["retained_wal_bytes"] == 1234);
  CHECK(json["slot"]["wal_status"] == "reserved");
  CHECK(json["rates"]["rows_per_s"] == 2);
  CHECK(json["rates"]["transactions_per_s"] == 3);
  CHECK(json["rates"]["bytes_per_s"] == 4);
  CHECK(json["memory_bytes"] == 9 << 20);
  CHECK(json["backfill"]["state"] == "running");
  CHECK(json["verify"]["state"] == "running");
  CHECK(json["verify"]["proofs"][0]["table"] == "public.a");
  CHECK(json["verify"]["proofs"][0]["at"] == "2025-11-20T10:00:00.123456Z");
  CHECK(json["verify"]["proofs"][0]["differences"] == 2);
  CHECK(json["parked"] == 10);
  CHECK(json["last_error"]["code"] == "retryable");
}

TEST_CASE("status_to_json: what is unknown is null") {
  const auto json = nlohmann::json::parse(status_to_json({}));
  CHECK(json["positions"]["applied"].is_null());
  CHECK(json["lag"]["bytes"].is_null());
  CHECK(json["lag"]["seconds"].is_null());
  CHECK(json["slot"].is_null());
  CHECK(json["last_error"].is_null());
}

TEST_CASE("status_from_json: gives back what went in") {
  for (const auto& status : {pipeline::sample_status(), pipeline::StatusSnapshot()}) {
    const auto back = status_from_json(status_to_json(status, 2));
    REQUIRE(back.has_value());
    CHECK(*back == status);
  }
}

TEST_CASE("status_to_json: hostile bytes become ASCII") {
  pipeline::StatusSnapshot status;
  status.health.why = "\xff\x1b[31m\xe2\x80\xae</script>\n";
  const std::string json = status_to_json(status);
  for (const char c : json) CHECK((c >= 0x20 && c < 0x7f));
}

TEST_CASE("status_from_json: refuses what is no status") {
  for (const char* bad : {"", "[]", "{", "nothing", "{\"pipeline\": 5}", "{\"parked\": \"x\"}"}) {
    const auto status = status_from_json(bad);
    REQUIRE_MESSAGE(!status.has_value(), bad);
    CHECK(status.error().code() == ErrorCode::corruption);
  }
  CHECK(status_from_json("{\"unknown\": 1}").has_value());
}

TEST_CASE("parse_time: what to_string writes, and shorter fractions") {
  for (const int64_t micros : {0L, 1763632800123456L, 951782400000000L}) {
    CHECK(parse_time(to_string(TimeMicros{micros}))->value == micros);
  }
  CHECK(parse_time("2025-11-20T10:00:00Z")->value == 1763632800000000);
  CHECK(parse_time("2025-11-20T10:00:00.5Z")->value == 1763632800500000);
  for (const char* bad :
       {"", "2025-11-20", "2025-11-20 10:00:00Z", "2025-13-20T10:00:00Z", "2025-02-30T10:00:00Z",
        "2025-11-20T25:00:00Z", "2025-11-20T10:00:00", "2025-11-20T10:00:00.1234567Z",
        "2025-11-20T10:00:00.Z", "2025-11-20T-1:00:00Z"}) {
    CHECK_MESSAGE(!parse_time(bad).has_value(), bad);
  }
}
