#include "relay/cli/offsets_text.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace millrace;
using namespace millrace::cli;

namespace {

checkpoint::Entry sample() {
  checkpoint::Entry entry;
  entry.kind = checkpoint::Kind::published;
  entry.pipeline = "shop";
  entry.watermark = {1, Lsn{0x30}, Lsn{0x20}, TimeMicros{1763632800000000}};
  entry.token = Token{4};
  entry.manifest_offset = 7;
  entry.system_identifier = "7001";
  entry.at = TimeMicros{1763632800500000};
  entry.ranges = {{"shop.public.a", 2, 10, 20, 5}};
  return entry;
}

}  // namespace

TEST_CASE("lines_json: every member of an offset") {
  const auto json = nlohmann::json::parse(lines_json({line_of(sample())}));
  REQUIRE(json.size() == 1);
  CHECK(json[0]["pipeline"] == "shop");
  CHECK(json[0]["kind"] == "published");
  CHECK(json[0]["position"] == "1:0/30");
  CHECK(json[0]["commit_lsn"] == "0/20");
  CHECK(json[0]["commit_time"] == "2025-11-20T10:00:00.000000Z");
  CHECK(json[0]["manifest_offset"] == 7);
  CHECK(json[0]["token"] == 4);
  CHECK(json[0]["system_identifier"] == "7001");
  CHECK(json[0]["at"] == "2025-11-20T10:00:00.500000Z");
  CHECK(json[0]["ranges"][0]["topic"] == "shop.public.a");
  CHECK(json[0]["ranges"][0]["end"] == 20);
}

TEST_CASE("lines_json: what is unknown is null") {
  const auto json = nlohmann::json::parse(lines_json({line_of("shop", sink::Applied())}));
  CHECK(json[0]["kind"] == "target");
  CHECK(json[0]["commit_lsn"].is_null());
  CHECK(json[0]["commit_time"].is_null());
  CHECK(json[0]["manifest_offset"].is_null());
}

TEST_CASE("lines_text and line_details: aligned, one a line") {
  const std::string text = lines_text({line_of(sample())});
  CHECK(text.find("KIND") == 0);
  CHECK(text.find("published     1:0/30               7          2025-11-20T10:00:00.000000Z  "
                  "2025-11-20T10:00:00.500000Z\n") != std::string::npos);
  const std::string details = line_details(line_of(sample()));
  CHECK(details.find("manifest_offset    7\n") != std::string::npos);
  CHECK(details.find("system_identifier  7001\n") != std::string::npos);
  CHECK(lines_text({}).empty());
}
