#include "relay/wire/control_codec.h"

#include <doctest/doctest.h>

#include "proto/millrace.pb.h"
#include "tests/unit/wire/samples.h"

namespace millrace::test {
namespace {

Claim sample_claim() {
  return {"host/4711/a1b2", "7000000000000000001", 1, "millrace_shop",
          TimeMicros{1'763'719'200'000'001}};
}

Manifest sample_manifest() {
  Manifest manifest;
  manifest.token = Token{77};
  manifest.epoch = 3;
  manifest.system_identifier = "7000000000000000001";
  manifest.previous = {1, Lsn{0x16'B374'D000}, Lsn{0x16'B374'CFC0}, TimeMicros{1}};
  manifest.last = {1, Lsn{0x16'B374'D8A0}, Lsn{0x16'B374'D848}, TimeMicros{2}};
  manifest.transactions = 2;
  manifest.rows = 5;
  manifest.ranges = {{"shop.public.accounts", 0, 0, 3, 3}, {"shop.public.accounts", 5, 10, 14, 2}};
  manifest.schemas = {{accounts_table()->fingerprint, 78}, {1, 0}};
  manifest.published_at = TimeMicros{-1};
  return manifest;
}

SchemaRecord sample_schema() { return {Token{0}, accounts_table()}; }

bool same(const Manifest& a, const Manifest& b) {
  return a.token == b.token && a.epoch == b.epoch && a.system_identifier == b.system_identifier &&
         a.previous == b.previous && a.last == b.last && a.origin == b.origin &&
         a.transactions == b.transactions && a.rows == b.rows && a.ranges == b.ranges &&
         a.schemas == b.schemas && a.published_at == b.published_at;
}

std::string verdict(const v1::ControlRecord& record) {
  const auto decoded = wire::decode_control(record.SerializeAsString());
  if (decoded) return "ok";
  return std::string(to_string(decoded.error().code())) + ": " + decoded.error().message();
}

v1::ControlRecord parsed(const ControlRecord& record) {
  v1::ControlRecord out;
  REQUIRE(out.ParseFromString(wire::encode_control(record)));
  return out;
}

std::vector<ControlRecord> records() {
  return {sample_claim(), sample_schema(), sample_manifest()};
}

}  // namespace

TEST_CASE("encode_control: golden bytes") {
  static constexpr const char* kNames[] = {"control_claim", "control_schema", "control_manifest"};
  for (const ControlRecord& record : records()) {
    const std::string bytes = wire::encode_control(record);
    CHECK(to_hex(bytes) == golden(kNames[record.index()], bytes));
  }
}

TEST_CASE("decode_control: claim") {
  const auto decoded = wire::decode_control(wire::encode_control(sample_claim()));
  REQUIRE(decoded);
  const auto& claim = std::get<Claim>(*decoded);
  CHECK(claim.publisher == "host/4711/a1b2");
  CHECK(claim.system_identifier == "7000000000000000001");
  CHECK(claim.timeline == 1);
  CHECK(claim.slot == "millrace_shop");
  CHECK(claim.at == sample_claim().at);
}

TEST_CASE("decode_control: schema, its names as the bytes they are") {
  TableSchema odd = *accounts_table();
  odd.name = "no \xFF utf-8";
  odd.columns[0].type_modifier = -1;
  odd.identity = ReplicaIdentity::index;
  const TableSchemaPtr table = seal_schema(odd);
  const auto decoded = wire::decode_control(wire::encode_control(SchemaRecord{Token{5}, table}));
  REQUIRE(decoded);
  const auto& record = std::get<SchemaRecord>(*decoded);
  CHECK(record.token == Token{5});
  CHECK(record.schema->fingerprint == table->fingerprint);
  CHECK(record.schema->name == odd.name);
  CHECK(record.schema->relation_oid == odd.relation_oid);
  CHECK(record.schema->identity == ReplicaIdentity::index);
  CHECK(record.schema->columns == table->columns);
}

TEST_CASE("decode_control: manifest, full, empty and origin") {
  Manifest empty;
  Manifest origin = sample_manifest();
  origin.origin = true;
  origin.ranges.clear();
  for (const Manifest& manifest : {sample_manifest(), empty, origin}) {
    const auto decoded = wire::decode_control(wire::encode_control(manifest));
    REQUIRE(decoded);
    CHECK(same(std::get<Manifest>(*decoded), manifest));
  }
}

TEST_CASE("decode_control: truncated at every length is never taken for the whole") {
  for (const ControlRecord& record : records()) {
    const std::string bytes = wire::encode_control(record);
    for (size_t length = 0; length < bytes.size(); ++length) {
      CAPTURE(length);
      CHECK(!wire::decode_control(std::string_view(bytes).substr(0, length)));
    }
  }
}

TEST_CASE("decode_control: formats and kinds of a newer version are refused by name") {
  v1::ControlRecord record = parsed(sample_claim());
  record.set_format(9);
  CHECK(verdict(record) == "refused: a control record has format 9; this version reads format 1");
  // Format 1 with an unknown record in field 5.
  const auto unknown = wire::decode_control(std::string("\x08\x01\x2A\x02\x08\x07"));
  REQUIRE(!unknown);
  CHECK(unknown.error().code() == ErrorCode::refused);
}

TEST_CASE("decode_control: what can not be is corrupt") {
  v1::ControlRecord record = parsed(sample_claim());
  record.clear_format();
  CHECK(verdict(record) == "corruption: control record: no format number");
  v1::ControlRecord nothing;
  nothing.set_format(1);
  CHECK(verdict(nothing) == "corruption: control record: empty");
  CHECK(wire::decode_control("\xFF\xFF").error().code() == ErrorCode::corruption);

  record = parsed(sample_manifest());
  record.mutable_manifest()->mutable_ranges(0)->set_end(-1);
  CHECK(verdict(record).starts_with("corruption: control record: 3 rows in the range 0..-1"));
  record = parsed(sample_manifest());
  record.mutable_manifest()->mutable_ranges(1)->set_rows(5);
  CHECK(verdict(record).starts_with("corruption: control record: 5 rows in the range 10..14"));
  record = parsed(sample_manifest());
  record.mutable_manifest()->mutable_ranges(1)->set_partition(0x80000000U);
  CHECK(verdict(record).starts_with("corruption: control record: partition"));
  record = parsed(sample_manifest());
  record.mutable_manifest()->mutable_schemas(0)->set_offset(-1);
  CHECK(verdict(record).starts_with("corruption: control record: table shape at offset -1"));
}

TEST_CASE("decode_control: a schema must have the fingerprint of its fields") {
  v1::ControlRecord record = parsed(sample_schema());
  record.mutable_schema()->mutable_columns(2)->set_type_oid(26);
  CHECK(verdict(record).starts_with("corruption: control record: table shape"));
  record = parsed(sample_schema());
  record.mutable_schema()->set_identity(v1::REPLICA_IDENTITY_UNSPECIFIED);
  CHECK(verdict(record) == "corruption: control record: replica identity 0 does not exist");
  record = parsed(sample_schema());
  for (int i = 0; i < 1600; ++i) record.mutable_schema()->add_columns();
  CHECK(verdict(record) == "corruption: control record: a table of 1605 columns");
}

}  // namespace millrace::test
