// Row records: golden bytes, round trips, and both directions against protobuf's generated class.
#include "relay/wire/row_codec.h"

#include <doctest/doctest.h>

#include "proto/millrace.pb.h"
#include "tests/unit/wire/samples.h"

namespace millrace::test {
namespace {

// The same record through the generated class.
v1::RowRecord generated(const Change& change) {
  v1::RowRecord out;
  out.set_format(wire::kRowFormat);
  out.set_token(kStamp.token.value);
  out.set_epoch(kStamp.epoch);
  out.set_timeline(change.position.timeline);
  out.set_commit_lsn(change.position.commit_lsn.value);
  out.set_ordinal(change.position.ordinal);
  out.set_commit_time_us(kStamp.commit_time.value);
  out.set_op(static_cast<v1::Op>(change.op));
  out.set_schema(change.table->fingerprint);
  out.set_xid(kStamp.xid);
  for (const Value& value : change.after) {
    out.mutable_after_kinds()->push_back(static_cast<char>(value.kind));
    if (value.kind == ValueKind::text) out.add_after(std::string(value.text));
  }
  for (const Value& value : change.before) {
    out.mutable_before_kinds()->push_back(static_cast<char>(value.kind));
    if (value.kind == ValueKind::text) out.add_before(std::string(value.text));
  }
  for (const uint64_t table : change.truncated) out.add_truncated(table);
  out.set_truncate_first(change.truncate_first);
  out.set_restart_identity(change.restart_identity);
  return out;
}

}  // namespace

TEST_CASE("encode_row: golden bytes") {
  for (const Change& change : samples()) {
    const std::string bytes = encoded(change);
    CHECK(to_hex(bytes) == golden("row_" + std::string(to_string(change.op)), bytes));
  }
}

TEST_CASE("encode_row: the bytes that protobuf's own class writes") {
  for (const Change& change : samples()) {
    CAPTURE(to_string(change.op));
    CHECK(to_hex(encoded(change)) == to_hex(generated(change).SerializeAsString()));
  }
}

TEST_CASE("encode_row: zero fields are left out as proto3 does, and a token of -1 travels") {
  Change change = change_of(Op::remove);
  change.position = {};
  std::string bytes;
  wire::encode_row({Token{-1}, 0, TimeMicros{0}}, change, bytes);
  v1::RowRecord parsed;
  REQUIRE(parsed.ParseFromString(bytes));
  CHECK(parsed.token() == -1);
  CHECK(parsed.SerializeAsString() == bytes);
  wire::encode_row({Token{0}, 0, TimeMicros{-1}}, change, bytes);
  const auto header = wire::peek_row(bytes);
  REQUIRE(header);
  CHECK(header->token.value == 0);
  CHECK(header->commit_time.value == -1);
}

TEST_CASE("encode_row: overwrites its buffer, longer and shorter") {
  std::string buffer(1000, 'x');
  wire::encode_row(kStamp, sample_insert(), buffer);
  CHECK(buffer == encoded(sample_insert()));
  buffer.clear();
  wire::encode_row(kStamp, sample_insert(), buffer);
  CHECK(buffer == encoded(sample_insert()));
}

TEST_CASE("peek_row: the whole header") {
  const auto header = wire::peek_row(encoded(sample_update()));
  REQUIRE(header);
  CHECK(header->token == kStamp.token);
  CHECK(header->epoch == kStamp.epoch);
  CHECK(header->position == kPosition);
  CHECK(header->commit_time == kStamp.commit_time);
  CHECK(header->fingerprint == accounts_table()->fingerprint);
  CHECK(header->op == Op::update);
  CHECK(header->xid == kStamp.xid);
}

TEST_CASE("decode_row: round trip into memory of its own") {
  ChangeBatch batch;
  for (const Change& change : samples()) {
    std::string bytes = encoded(change);
    REQUIRE(wire::decode_row(bytes, lookup, batch));
    std::fill(bytes.begin(), bytes.end(), '\xEE');
    CHECK(same(batch.changes().back(), change));
  }
  CHECK(batch.size() == 4);
}

TEST_CASE("decode_row: behind a header that was read already, and cut short at every length") {
  for (const Change& change : {sample_update(), sample_remove()}) {
    const std::string bytes = encoded(change);
    const auto header = wire::peek_row(bytes);
    REQUIRE(header);
    ChangeBatch batch;
    REQUIRE(wire::decode_row(bytes, *header, lookup, batch));
    ChangeBatch whole;
    REQUIRE(wire::decode_row(bytes, lookup, whole));
    CHECK(batch.changes()[0].op == whole.changes()[0].op);
    CHECK(batch.changes()[0].position == whole.changes()[0].position);
    CHECK(std::ranges::equal(batch.changes()[0].after, whole.changes()[0].after));
    CHECK(std::ranges::equal(batch.changes()[0].before, whole.changes()[0].before));
    for (size_t length = 0; length < bytes.size(); ++length) {
      const std::string cut = bytes.substr(0, length);
      ChangeBatch a, b;
      CHECK(wire::decode_row(cut, *header, lookup, a).has_value() ==
            wire::decode_row(cut, lookup, b).has_value());
    }
  }
}

TEST_CASE("decode_row: what protobuf's own class writes, with fields of later versions") {
  for (const Change& change : samples()) {
    // A length-delimited field 100, a varint field 101 and a group 102: unknown, to be skipped.
    const std::string later = std::string(
                                  "\xA2\x06\x03"
                                  "abc",
                                  6) +
                              "\xA8\x06\x2A" + "\xB3\x06\xB4\x06";
    const std::string bytes = generated(change).SerializeAsString() + later;
    ChangeBatch batch;
    const auto decoded = wire::decode_row(bytes, lookup, batch);
    REQUIRE_MESSAGE(decoded, decoded.error().describe());
    CHECK(same(batch.changes().front(), change));
    CHECK(wire::peek_row(bytes));
  }
}

TEST_CASE("decode_row: a table without columns") {
  TableSchema schema;
  schema.schema = "public";
  schema.name = "empty";
  const TableSchemaPtr table = seal_schema(std::move(schema));
  Change change = change_of(Op::insert);
  change.table = table.get();
  std::string bytes;
  wire::encode_row(kStamp, change, bytes);
  ChangeBatch batch;
  REQUIRE(wire::decode_row(
      bytes, [&](uint64_t) { return table; }, batch));
  CHECK(batch.changes().front().after.empty());
}

TEST_CASE("decode_row: lengths around the varint boundaries") {
  for (const size_t length : {0U, 1U, 127U, 128U, 16383U, 16384U, 2'097'152U}) {
    const std::string big(length, 'v');
    const std::vector<Value> row{text(big), text("1"), text(big), null(), text(big)};
    Change change = change_of(Op::insert);
    change.after = row;
    const std::string bytes = encoded(change);
    CHECK(bytes == generated(change).SerializeAsString());
    ChangeBatch batch;
    REQUIRE(wire::decode_row(bytes, lookup, batch));
    CHECK(same(batch.changes().front(), change));
  }
}

TEST_CASE("encode_row: takes no memory once its buffer has grown") {
  std::string bytes;
  wire::encode_row(kStamp, sample_insert(), bytes);
  const char* const at = bytes.data();
  for (const Change& change : {sample_remove(), sample_truncate(), sample_insert()}) {
    wire::encode_row(kStamp, change, bytes);
    CHECK(bytes.data() == at);
  }
}

}  // namespace millrace::test
