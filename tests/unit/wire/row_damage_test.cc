// Row records that are not what was written: each kind of damage is named, none is let through.
#include <algorithm>

#include <doctest/doctest.h>

#include "proto/millrace.pb.h"
#include "relay/wire/row_codec.h"
#include "tests/unit/wire/samples.h"

namespace millrace::test {
namespace {

v1::RowRecord parsed(const Change& change) {
  v1::RowRecord record;
  REQUIRE(record.ParseFromString(encoded(change)));
  return record;
}

// The message of the error that decoding ends with, prefixed by its code.
std::string verdict(std::string_view bytes) {
  ChangeBatch batch;
  const auto decoded = wire::decode_row(bytes, lookup, batch);
  if (decoded) return "ok";
  CHECK(batch.empty());
  return std::string(to_string(decoded.error().code())) + ": " + decoded.error().message();
}

std::string verdict(const v1::RowRecord& record) { return verdict(record.SerializeAsString()); }

bool has(const std::string& message, std::string_view part) {
  INFO(message);
  return message.starts_with("corruption: row record: ") && message.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("decode_row: truncated at every length") {
  for (const Change& change : samples()) {
    CAPTURE(to_string(change.op));
    const std::string bytes = encoded(change);
    for (size_t length = 0; length < bytes.size(); ++length) {
      CAPTURE(length);
      const std::string cut = bytes.substr(0, length);
      ChangeBatch batch;
      const auto decoded = wire::decode_row(cut, lookup, batch);
      REQUIRE(!decoded);
      CHECK(decoded.error().code() == ErrorCode::corruption);
      const auto peeked = wire::peek_row(cut);
      if (!peeked) CHECK(peeked.error().code() == ErrorCode::corruption);
    }
  }
}

TEST_CASE("decode_row: one byte changed is an error or another well-formed change") {
  for (const Change& change : samples()) {
    const std::string bytes = encoded(change);
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (const int flip : {0x01, 0x04, 0x80, 0xFF}) {
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ flip);
        ChangeBatch batch;
        if (!wire::decode_row(damaged, lookup, batch)) continue;
        const Change& read = batch.changes().front();
        CHECK((read.after.empty() || read.after.size() == 5));
        CHECK((read.before.empty() || read.before.size() == 5));
      }
    }
  }
}

TEST_CASE("decode_row: a format of a newer version is refused by name") {
  v1::RowRecord record = parsed(sample_insert());
  record.set_format(2);
  CHECK(verdict(record) == "refused: a row record has format 2; this version reads format 1");
  const auto peeked = wire::peek_row(record.SerializeAsString());
  REQUIRE(!peeked);
  CHECK(peeked.error().code() == ErrorCode::refused);
  CHECK(!peeked.error().hint().empty());
}

TEST_CASE("decode_row: no format, no operation, unknown table") {
  v1::RowRecord record = parsed(sample_insert());
  record.clear_format();
  CHECK(has(verdict(record), "no format number"));
  CHECK(has(verdict(""), "no format number"));
  record = parsed(sample_insert());
  record.set_op(static_cast<v1::Op>(5));
  CHECK(has(verdict(record), "operation 5"));
  record.clear_op();
  CHECK(has(verdict(record), "operation 0"));
  record = parsed(sample_insert());
  record.set_schema(0xABCDEF);
  CHECK(has(verdict(record), "0000000000abcdef"));
}

TEST_CASE("decode_row: kinds that do not fit the table") {
  v1::RowRecord record = parsed(sample_insert());
  record.mutable_after_kinds()->push_back('n');
  CHECK(has(verdict(record), "new row has 6 columns where public.\"Accounts\" has 5"));
  record = parsed(sample_insert());
  (*record.mutable_after_kinds())[3] = 'b';
  CHECK(has(verdict(record), "column 4 has kind 0x62"));
  record = parsed(sample_remove());
  record.mutable_before_kinds()->pop_back();
  CHECK(has(verdict(record), "old row has 4 columns"));
}

TEST_CASE("decode_row: values that do not fit the kinds") {
  v1::RowRecord record = parsed(sample_insert());
  record.add_after("one more");
  CHECK(has(verdict(record), "new row has too many values"));
  record = parsed(sample_insert());
  record.mutable_after()->RemoveLast();
  CHECK(has(verdict(record), "new row has no value for column 5"));
  record = parsed(sample_update());
  record.mutable_before()->RemoveLast();
  CHECK(has(verdict(record), "old row has no value for column 2"));
}

TEST_CASE("decode_row: rows that the operation does not have") {
  v1::RowRecord record = parsed(sample_insert());
  record.set_before_kinds("nnnnn");
  CHECK(has(verdict(record), "insert with an old row"));
  record = parsed(sample_remove());
  record.set_after_kinds("nnnnn");
  CHECK(has(verdict(record), "delete with a new row"));
  record = parsed(sample_insert());
  record.set_op(v1::OP_REMOVE);
  CHECK(has(verdict(record), "delete with a new row"));
  record = parsed(sample_update());
  record.clear_after_kinds();
  record.clear_after();
  CHECK(has(verdict(record), "update without a new row"));
  record = parsed(sample_remove());
  record.clear_before_kinds();
  record.clear_before();
  CHECK(has(verdict(record), "delete without an old row"));
  record = parsed(sample_truncate());
  record.set_after_kinds("nnnnn");
  CHECK(has(verdict(record), "truncate with a new row"));
}

TEST_CASE("decode_row: a truncate that does not hold together") {
  v1::RowRecord record = parsed(sample_truncate());
  record.set_truncated(1, 43);
  CHECK(has(verdict(record), "truncate does not name its own table"));
  record = parsed(sample_truncate());
  record.set_truncate_first(8);
  CHECK(has(verdict(record), "truncate at ordinal 7 begins at 8"));
  record = parsed(sample_insert());
  record.set_restart_identity(true);
  CHECK(has(verdict(record), "insert with the fields of a truncate"));
  // Seven bytes of a fingerprint.
  CHECK(has(verdict(encoded(sample_insert()) + std::string("\x8A\x01\x07") + "1234567"),
            "truncated tables is cut short"));
}

TEST_CASE("decode_row: fields out of order") {
  const std::string bytes = encoded(sample_insert());
  CHECK(has(verdict(bytes + std::string("\x30\x07")), "field 6 stands behind the header"));
  CHECK(has(verdict(bytes + std::string("\x6A\x05nnnnn")), "new row kinds twice"));
  // A value in front of its kinds.
  const size_t kinds = bytes.find("\x6A\x05");
  REQUIRE(kinds != std::string::npos);
  std::string early = bytes;
  early.insert(kinds, "\x72\x01x");
  CHECK(has(verdict(early), "new row has too many values"));
}

TEST_CASE("decode_row: lengths beyond the record, endless varints, field number 0") {
  const std::string bytes = encoded(sample_insert());
  CHECK(has(verdict(bytes + "\x72\xFF\xFF\xFF\xFF\x07"), "field 14 is cut short"));
  CHECK(has(verdict(bytes + "\x72\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"),
            "field 14 is cut short"));
  CHECK(has(verdict(std::string(12, '\xFF')), "ends inside a field"));
  CHECK(has(verdict(bytes + std::string("\x00\x00", 2)), "field number 0"));
  // A group that is never closed, deeper than any reader goes.
  CHECK(has(verdict(bytes + std::string(20'000, '\xA3')), ""));
}

}  // namespace millrace::test
