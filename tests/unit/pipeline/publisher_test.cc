#include "relay/pipeline/publisher.h"

#include <doctest/doctest.h>

#include "relay/wire/control_codec.h"
#include "tests/support/fake_log.h"

namespace millrace::pipeline {
namespace {

TableSchemaPtr items() {
  TableSchema schema;
  schema.schema = "public";
  schema.name = "items";
  schema.columns = {{"id", 20, -1, "", "", true}, {"note", 25, -1, "", "", false}};
  return seal_schema(std::move(schema));
}

struct Fixture {
  test::FakeLog log;
  std::stop_source stop;
  TableSchemaPtr table = items();

  PublisherOptions options() {
    PublisherOptions options;
    options.pipeline = "shop";
    options.publisher = "test";
    options.system_identifier = "42";
    options.timeline = 1;
    options.group_wait = Millis(0);
    options.topic_of = [](const TableSchema& t) { return "shop." + t.schema + "." + t.name; };
    return options;
  }
  Publisher publisher() { return {log, system_clock(), options(), stop.get_token()}; }

  void transaction(Publisher& publisher, uint64_t commit_lsn, uint32_t rows) {
    for (uint32_t i = 0; i < rows; ++i) {
      const std::string id = std::to_string(i);
      const Value values[] = {{ValueKind::text, id}, {ValueKind::null, {}}};
      Change change;
      change.table = table.get();
      change.position = {1, Lsn{commit_lsn}, i};
      change.after = values;
      REQUIRE(publisher.row(change, table, TimeMicros{5}));
    }
    REQUIRE(publisher.commit({1, Lsn{commit_lsn + 8}, Lsn{commit_lsn}, TimeMicros{5}}));
  }
  std::vector<Manifest> manifests() {
    std::vector<Manifest> found;
    for (const std::string& bytes : log.control) {
      const auto record = wire::decode_control(bytes);
      REQUIRE(record);
      if (const auto* manifest = std::get_if<Manifest>(&*record)) found.push_back(*manifest);
    }
    return found;
  }
};

TEST_CASE_FIXTURE(Fixture, "Publisher: a group is whole transactions and names its rows") {
  auto publisher = this->publisher();
  REQUIRE(publisher.claim(std::nullopt));
  CHECK(publisher.token() == Token{0});
  REQUIRE(publisher.begin_at({1, Lsn{100}, {}, {}}, true, true));
  transaction(publisher, 200, 3);
  transaction(publisher, 300, 2);
  for (int i = 0; i < 4; ++i) REQUIRE(publisher.tick(true, Millis(0)));
  const auto found = manifests();
  REQUIRE(found.size() == 2);
  CHECK(found[0].origin);
  CHECK(found[0].rows == 0);
  CHECK(found[1].previous.end_lsn == Lsn{100});
  CHECK(found[1].last.end_lsn == Lsn{308});
  CHECK(found[1].transactions == 2);
  REQUIRE(found[1].ranges.size() == 1);
  CHECK(found[1].ranges[0] == OffsetRange{"shop.public.items", 0, 0, 5, 5});
  REQUIRE(found[1].schemas.size() == 1);
  CHECK(found[1].schemas[0].fingerprint == table->fingerprint);
  REQUIRE(publisher.acknowledgeable());
  CHECK(publisher.acknowledgeable()->manifest.last.end_lsn == Lsn{308});
}

TEST_CASE_FIXTURE(Fixture, "Publisher: groups grow while the source is far ahead") {
  auto options = this->options();
  options.group_rows = 6;
  options.group_wait_behind = Millis(3'600'000);
  Publisher publisher(log, system_clock(), options, stop.get_token());
  REQUIRE(publisher.claim(std::nullopt));
  REQUIRE(publisher.begin_at({1, Lsn{100}, {}, {}}, false, false));
  publisher.set_far_behind(true);
  for (uint64_t lsn = 200; lsn < 600; lsn += 100) {  // the third one fills a group
    transaction(publisher, lsn, 2);
    for (int i = 0; i < 3; ++i) REQUIRE(publisher.tick(false, Millis(0)));
  }
  REQUIRE(manifests().size() == 1);
  CHECK(manifests()[0].transactions == 3);
  publisher.set_far_behind(false);
  for (int i = 0; i < 3; ++i) REQUIRE(publisher.tick(false, Millis(0)));
  REQUIRE(manifests().size() == 2);
  CHECK(manifests()[1].transactions == 1);
}

TEST_CASE_FIXTURE(Fixture, "Publisher: a group that has gone to many partitions ends early") {
  auto options = this->options();
  options.group_wait_behind = Millis(3'600'000);
  options.group_partitions = 1;
  Publisher publisher(log, system_clock(), options, stop.get_token());
  REQUIRE(publisher.claim(std::nullopt));
  REQUIRE(publisher.begin_at({1, Lsn{100}, {}, {}}, false, false));
  publisher.set_far_behind(true);
  for (uint64_t lsn = 200; lsn < 500; lsn += 100) {
    transaction(publisher, lsn, 2);
    for (int i = 0; i < 3; ++i) REQUIRE(publisher.tick(false, Millis(0)));
  }
  REQUIRE(manifests().size() == 3);
  CHECK(manifests()[0].rows == 2);
}

TEST_CASE_FIXTURE(Fixture, "Publisher: the source has nothing more, so a far-behind group ends") {
  auto options = this->options();
  options.group_wait_behind = Millis(3'600'000);
  Publisher publisher(log, system_clock(), options, stop.get_token());
  REQUIRE(publisher.claim(std::nullopt));
  REQUIRE(publisher.begin_at({1, Lsn{100}, {}, {}}, false, false));
  publisher.set_far_behind(true);
  transaction(publisher, 200, 2);
  for (int i = 0; i < 3; ++i) REQUIRE(publisher.tick(true, Millis(0)));
  CHECK(manifests().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "Publisher: no manifest while the rows are not durable") {
  auto publisher = this->publisher();
  REQUIRE(publisher.claim(std::nullopt));
  REQUIRE(publisher.begin_at({1, Lsn{100}, {}, {}}, false, false));
  log.hold = true;
  transaction(publisher, 200, 3);
  for (int i = 0; i < 4; ++i) REQUIRE(publisher.tick(true, Millis(0)));
  CHECK(manifests().empty());
  CHECK(publisher.in_flight());
  CHECK_FALSE(publisher.acknowledgeable());
  log.hold = false;
  for (int i = 0; i < 4; ++i) REQUIRE(publisher.tick(true, Millis(0)));
  CHECK(manifests().size() == 1);
  CHECK_FALSE(publisher.in_flight());
}

TEST_CASE_FIXTURE(Fixture, "Publisher: an open transaction is in no manifest") {
  auto publisher = this->publisher();
  REQUIRE(publisher.claim(std::nullopt));
  REQUIRE(publisher.begin_at({1, Lsn{100}, {}, {}}, false, false));
  transaction(publisher, 200, 1);
  const Value values[] = {{ValueKind::text, "9"}, {ValueKind::null, {}}};
  Change change;
  change.table = table.get();
  change.position = {1, Lsn{300}, 0};
  change.after = values;
  REQUIRE(publisher.row(change, table, TimeMicros{5}));
  for (int i = 0; i < 4; ++i) REQUIRE(publisher.tick(true, Millis(0)));
  CHECK(manifests().empty());
}

TEST_CASE_FIXTURE(Fixture,
                  "Publisher: a later claim ends the earlier publisher, and voids what it sends") {
  auto zombie = this->publisher();
  REQUIRE(zombie.claim(std::nullopt));
  REQUIRE(zombie.begin_at({1, Lsn{100}, {}, {}}, true, true));
  REQUIRE(zombie.tick(true, Millis(0)));
  auto successor = this->publisher();
  const auto published = successor.claim(std::nullopt);
  REQUIRE(published);
  REQUIRE(*published);
  CHECK((*published)->manifest.last.end_lsn == Lsn{100});
  transaction(zombie, 200, 1);
  const auto ticked = zombie.tick(true, Millis(0));
  REQUIRE_FALSE(ticked);
  CHECK(ticked.error().code() == ErrorCode::retryable);  // the slot says who goes on
  CHECK(zombie.acknowledgeable()->manifest.last.end_lsn == Lsn{100});
}

TEST_CASE_FIXTURE(Fixture, "Publisher: a claim for another slot is refused") {
  auto first = this->publisher();
  REQUIRE(first.claim(std::nullopt));
  REQUIRE(first.begin_at({1, Lsn{100}, {}, {}}, true, true));
  auto other = options();
  other.slot = "another_slot";
  Publisher second(log, system_clock(), other, stop.get_token());
  REQUIRE(second.claim(std::nullopt));
  const auto ticked = first.tick(true, Millis(0));
  REQUIRE_FALSE(ticked);
  CHECK(ticked.error().code() == ErrorCode::refused);
}

TEST_CASE_FIXTURE(Fixture, "last_published: void manifests are passed over") {
  auto first = this->publisher();
  REQUIRE(first.claim(std::nullopt));
  REQUIRE(first.begin_at({1, Lsn{100}, {}, {}}, true, true));
  for (int i = 0; i < 2; ++i) REQUIRE(first.tick(true, Millis(0)));
  auto second = this->publisher();
  REQUIRE(second.claim(std::nullopt));
  Manifest late;
  late.token = first.token();
  late.system_identifier = "42";
  late.previous = late.last = Watermark{1, Lsn{900}, Lsn{890}, {}};
  log.control.push_back(wire::encode_control(late));
  const auto reader = log.reader();
  const auto end = static_cast<LogOffset>(log.control.size());
  const auto last = last_published(**reader, {0, false}, end, {});
  REQUIRE(last);
  REQUIRE(*last);
  CHECK((*last)->manifest.last.end_lsn == Lsn{100});
}

// Found by docs/model/publishing.pml with TRUST_FIRST: everything behind it then looked void, and
// the slot was refused as one that had forgotten too much.
TEST_CASE_FIXTURE(Fixture, "Publisher: a zombie's manifest where retention cut the topic is void") {
  auto zombie = this->publisher();
  REQUIRE(zombie.claim(std::nullopt));
  REQUIRE(zombie.begin_at({1, Lsn{100}, {}, {}}, true, true));
  for (int i = 0; i < 2; ++i) REQUIRE(zombie.tick(true, Millis(0)));
  auto second = this->publisher();
  REQUIRE(second.claim(std::nullopt));
  REQUIRE(second.begin_at({1, Lsn{100}, {}, {}}, false, false));
  Manifest late;
  late.token = zombie.token();
  late.system_identifier = "42";
  late.previous = late.last = Watermark{1, Lsn{150}, Lsn{140}, {}};
  log.control_start = static_cast<LogOffset>(log.control.size());
  log.control.push_back(wire::encode_control(late));
  transaction(second, 200, 1);
  for (int i = 0; i < 4; ++i) REQUIRE(second.tick(true, Millis(0)));
  auto third = this->publisher();
  const auto published = third.claim(std::nullopt);
  REQUIRE(published);
  REQUIRE(*published);
  CHECK((*published)->manifest.last.end_lsn == Lsn{208});
}

TEST_CASE_FIXTURE(Fixture, "Publisher: a full log is waited for, and a stop ends the wait") {
  auto publisher = this->publisher();
  REQUIRE(publisher.claim(std::nullopt));
  REQUIRE(publisher.begin_at({1, Lsn{100}, {}, {}}, false, false));
  log.full = true;
  stop.request_stop();
  const Value values[] = {{ValueKind::text, "9"}, {ValueKind::null, {}}};
  Change change;
  change.table = table.get();
  change.after = values;
  const auto row = publisher.row(change, table, TimeMicros{5});
  REQUIRE_FALSE(row);
  CHECK(row.error().code() == ErrorCode::cancelled);
}

}  // namespace
}  // namespace millrace::pipeline
