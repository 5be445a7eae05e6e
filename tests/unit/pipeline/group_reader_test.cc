#include "relay/pipeline/group_reader.h"

#include <string>

#include <doctest/doctest.h>

#include "relay/wire/control_codec.h"
#include "tests/support/fake_log.h"

namespace millrace::pipeline {
namespace {

// One transaction over many topics, in a log that counts who rests.
struct Fixture {
  test::FakeLog log;
  TableSchemaPtr table;
  SchemaCache schemas;
  Manifest manifest;
  uint32_t rows = 0;

  Fixture() {
    TableSchema schema;
    schema.schema = "public";
    schema.name = "events";
    schema.columns = {{"id", 20, -1, "", "", false}};
    table = seal_schema(std::move(schema));
    log.control.push_back(wire::encode_control(SchemaRecord{Token{7}, table}));
    manifest.token = Token{7};
    manifest.schemas = {{table->fingerprint, 0}};
  }
  void row(size_t topic, size_t filler = 0) {
    const std::string name = "topic" + std::to_string(topic);
    const std::string text = std::to_string(rows) + std::string(filler, ' ');
    const Value values[] = {{ValueKind::text, text}};
    Change change;
    change.table = table.get();
    change.position = {1, Lsn{100}, rows++};
    change.after = values;
    std::string record;
    wire::encode_row({manifest.token, 1, TimeMicros{5}, 0}, change, record);
    log.topics[name].push_back({"", record});
    while (manifest.ranges.size() <= topic)
      manifest.ranges.push_back({"topic" + std::to_string(manifest.ranges.size()), 0, 0, 0, 0});
    manifest.ranges[topic].end++;
    manifest.ranges[topic].rows++;
  }
  // In batches of `most` rows; every row once and in the source's order.
  void check_order(size_t most) {
    auto reader = log.reader();
    REQUIRE(reader);
    REQUIRE(schemas.load(**reader, manifest.schemas));
    GroupReader group(**reader, schemas, manifest);
    REQUIRE(group.open());
    uint32_t next = 0;
    for (bool done = false; !done;) {
      ChangeBatch batch;
      auto filled = group.fill(batch, Watermark{}, most, size_t{1} << 30);
      REQUIRE(filled);
      done = *filled;
      CHECK((done || batch.size() == most));
      for (const Change& change : batch.changes()) {
        REQUIRE(change.position.ordinal == next);
        const std::string_view text = change.after[0].text;
        REQUIRE(text.substr(0, text.find(' ')) == std::to_string(next));
        next++;
      }
    }
    CHECK(next == rows);
  }
};

TEST_CASE_FIXTURE(Fixture, "GroupReader: a few ranges never rest") {
  for (size_t i = 0; i < 1000; i++) row(i % 30);
  check_order(100);
  CHECK(log.rests == 0);
}

TEST_CASE_FIXTURE(Fixture, "GroupReader: many ranges, one after another") {
  for (size_t i = 0; i < 2000; i++) row(i / 10);
  check_order(77);
  CHECK(log.rests >= 200 - 32);
  CHECK(log.rests < 400);
}

TEST_CASE_FIXTURE(Fixture, "GroupReader: many ranges in rounds, and in no order at all") {
  for (size_t i = 0; i < 2000; i++) row(i % 200);
  size_t random = 1;
  for (size_t i = 0; i < 2000; i++) {
    random = random * 48271 % 2147483647;
    row(random % 200);
  }
  for (size_t i = 0; i < 50; i++) row(150);
  for (size_t i = 0; i < 200; i++) row(199 - i);
  check_order(100);
  CHECK(log.rests > 1000);
}

TEST_CASE_FIXTURE(Fixture, "GroupReader: of large rows only a few are kept near") {
  for (size_t i = 0; i < 60; i++) row(i % 6, size_t{3} << 20);
  for (size_t i = 0; i < 60; i++) row(i % 6);
  check_order(10);
  CHECK(log.rests > 20);
}

TEST_CASE_FIXTURE(Fixture,
                  "GroupReader: a record that changes while its range rests is corruption") {
  for (size_t i = 0; i < 100; i++) row(i);
  auto reader = log.reader();
  REQUIRE(reader);
  REQUIRE(schemas.load(**reader, manifest.schemas));
  GroupReader group(**reader, schemas, manifest);
  REQUIRE(group.open());
  log.topics["topic90"].clear();
  ChangeBatch batch;
  const auto filled = group.fill(batch, Watermark{}, 1000, size_t{1} << 30);
  REQUIRE_FALSE(filled);
  CHECK(filled.error().code() == ErrorCode::corruption);
  CHECK(filled.error().message().find("topic90/0") != std::string::npos);
  CHECK(batch.size() == 90);
}

}  // namespace
}  // namespace millrace::pipeline
