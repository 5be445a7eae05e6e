#include "relay/wire/json.h"

#include <doctest/doctest.h>

#include "tests/unit/wire/samples.h"

namespace millrace::test {

TEST_CASE("change_to_json: null, unchanged, empty and hostile values are told apart") {
  CHECK(wire::change_to_json(sample_insert()) ==
        R"({"position":"1:16/B374D848:7","table":"public.\"Accounts\"","op":"insert",)"
        R"("key":{"id":"9223372036854775807","branch":"-5"},)"
        R"("after":{"id":"9223372036854775807","branch":"-5","note":"","balance":null,)"
        R"("mood":"fr\u0000h \u00fc"}})");
  CHECK(wire::change_to_json(sample_update()) ==
        R"({"position":"1:16/B374D848:7","table":"public.\"Accounts\"","op":"update",)"
        R"("key":{"id":"2","branch":"5"},)"
        R"("after":{"id":"2","branch":"5","note":{"unchanged":true},"balance":"1.50","mood":null},)"
        R"("before":{"id":"1","branch":"5"}})");
  CHECK(wire::change_to_json(sample_remove()) ==
        R"({"position":"1:16/B374D848:7","table":"public.\"Accounts\"","op":"delete",)"
        R"("key":{"id":"2","branch":"5"},"before":{"id":"2","branch":"5"}})");
}

TEST_CASE("change_to_json: the whole old row with REPLICA IDENTITY FULL") {
  TableSchema schema = *accounts_table();
  schema.identity = ReplicaIdentity::full;
  const TableSchemaPtr table = seal_schema(std::move(schema));
  Change change = sample_remove();
  change.table = table.get();
  CHECK(wire::change_to_json(change).find(R"("before":{"id":"2","branch":"5","note":null,)") !=
        std::string::npos);
}

TEST_CASE("change_to_json: truncate") {
  const std::string json = wire::change_to_json(sample_truncate());
  CHECK(json.find(R"("op":"truncate","truncated":["000000000000002a",)") != std::string::npos);
  CHECK(json.find(R"("restart_identity":true})") != std::string::npos);
}

TEST_CASE("change_to_json: one line of printable ASCII, whatever the bytes") {
  std::string every;
  for (int byte = 0; byte < 256; ++byte) every.push_back(static_cast<char>(byte));
  const std::vector<Value> row{text(every),
                               text("\xE2\x80\xAE"
                                    "bidi\xC2\x9B"),
                               null(), null(), null()};
  Change change = change_of(Op::insert);
  change.after = row;
  const std::string json = wire::change_to_json(change);
  CHECK(std::all_of(json.begin(), json.end(), [](char c) { return c >= ' ' && c < '\x7F'; }));
  CHECK(json.find("\\ufffd") != std::string::npos);
  CHECK(json.find("\\u202ebidi\\u009b") != std::string::npos);
  CHECK(json.find("\\u007f") != std::string::npos);
}

TEST_CASE("key_to_json: the new row's key, the old row's where there is no new one") {
  CHECK(wire::key_to_json(sample_insert()) == R"({"id":"9223372036854775807","branch":"-5"})");
  CHECK(wire::key_to_json(sample_update()) == R"({"id":"2","branch":"5"})");
  CHECK(wire::key_to_json(sample_remove()) == R"({"id":"2","branch":"5"})");
}

TEST_CASE("change_to_json: with its place in the log") {
  const auto header = wire::peek_row(encoded(sample_remove()));
  REQUIRE(header);
  const std::string json = wire::change_to_json(sample_remove(), *header, {"shop.public.t", 4, 99});
  CHECK(
      json.starts_with(R"({"topic":"shop.public.t","partition":4,"offset":99,"token":77,"epoch":3,)"
                       R"("commit_time":"2025-11-21T10:00:00.123456Z","position":)"));
}

TEST_CASE("control_to_json: each kind of record") {
  CHECK(wire::control_to_json(Claim{"me", "7", 1, "slot", TimeMicros{0}}, 4) ==
        R"({"record":"claim","offset":4,"publisher":"me","system_identifier":"7","timeline":1,)"
        R"("slot":"slot","at":"1970-01-01T00:00:00.000000Z"})");
  const std::string schema = wire::control_to_json(SchemaRecord{Token{4}, accounts_table()}, 5);
  CHECK(schema.find(R"("table":"public.\"Accounts\"")") != std::string::npos);
  CHECK(schema.find(R"({"name":"mood","type_oid":16400,"type_modifier":-1,"type":"app.mood",)") !=
        std::string::npos);
  Manifest manifest;
  manifest.token = Token{4};
  manifest.ranges = {{"t", 0, 1, 3, 2}};
  manifest.schemas = {{10, 5}};
  const std::string json = wire::control_to_json(manifest, 6);
  CHECK(json.find(R"("ranges":[{"topic":"t","partition":0,"start":1,"end":3,"rows":2}])") !=
        std::string::npos);
  CHECK(json.find(R"("schemas":[{"fingerprint":"000000000000000a","offset":5}])") !=
        std::string::npos);
}

}  // namespace millrace::test
