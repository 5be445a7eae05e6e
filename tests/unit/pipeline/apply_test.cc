#include "relay/pipeline/apply.h"

#include <utility>

#include <doctest/doctest.h>

#include "relay/wire/control_codec.h"
#include "tests/support/fake_log.h"
#include "tests/support/fake_target.h"

namespace millrace::pipeline {
namespace {

// A table without a key: every row counts, so a row applied twice shows.
TableSchemaPtr events() {
  TableSchema schema;
  schema.schema = "public";
  schema.name = "events";
  schema.columns = {{"id", 20, -1, "", "", false}};
  return seal_schema(std::move(schema));
}

constexpr const char* kTopic = "shop.public.events";

struct Fixture {
  test::FakeLog log;
  test::FakeTarget target;
  std::stop_source stop;
  TableSchemaPtr table = events();
  Shared shared;
  StatusBoard board{"shop", "all"};
  Millis applier_wait{15'000};
  size_t group_rows = 2;
  Millis group_wait{0};

  Publisher make_publisher() {
    PublisherOptions options;
    options.system_identifier = "42";
    options.timeline = 1;
    options.group_wait = Millis(0);
    options.topic_of = [](const TableSchema&) { return kTopic; };
    return {log, system_clock(), options, stop.get_token()};
  }
  Publisher publisher_at(uint64_t lsn, bool origin) {
    auto publisher = make_publisher();
    REQUIRE(publisher.claim(std::nullopt));
    REQUIRE(publisher.begin_at({1, Lsn{lsn}, {}, {}}, origin, origin));
    return publisher;
  }
  void row(Publisher& publisher, uint64_t commit_lsn, uint32_t ordinal) {
    const std::string id = std::to_string(commit_lsn) + ":" + std::to_string(ordinal);
    const Value values[] = {{ValueKind::text, id}};
    Change change;
    change.table = table.get();
    change.position = {1, Lsn{commit_lsn}, ordinal};
    change.after = values;
    REQUIRE(publisher.row(change, table, TimeMicros{5}));
  }
  void transaction(Publisher& publisher, uint64_t commit_lsn, uint32_t rows) {
    for (uint32_t i = 0; i < rows; ++i) row(publisher, commit_lsn, i);
    REQUIRE(publisher.commit({1, Lsn{commit_lsn + 8}, Lsn{commit_lsn}, TimeMicros{5}}));
    for (int i = 0; i < 4; ++i) REQUIRE(publisher.tick(true, Millis(0)));
  }
  Status apply_until(uint64_t lsn) {
    ApplyOptions options;
    options.goal = Lsn{lsn};
    options.exit_on_stop = true;
    options.applier_wait = applier_wait;
    options.group_rows = group_rows;
    options.group_wait = group_wait;
    Apply apply(log, target, system_clock(), options, shared, board);
    return apply.run(stop.get_token());
  }
  void check_each_row_once(size_t rows) {
    CHECK(target.rows.size() == rows);
    for (const auto& row : target.rows) {
      CAPTURE(row.first);
      CHECK(row.second == 1);
    }
  }
};

TEST_CASE_FIXTURE(Fixture, "Apply: begins at the origin and applies every row once") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 5);
  transaction(publisher, 300, 1);
  REQUIRE(apply_until(308));
  check_each_row_once(6);
  CHECK(target.committed->watermark.end_lsn == Lsn{308});
}

TEST_CASE_FIXTURE(Fixture, "Apply: a restart applies nothing twice") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 2);
  REQUIRE(apply_until(208));
  transaction(publisher, 300, 2);
  REQUIRE(apply_until(308));
  check_each_row_once(4);
}

TEST_CASE_FIXTURE(Fixture, "Apply: many rows wait for more to share a transaction, a few do not") {
  group_rows = 1000;
  group_wait = Millis(3'600'000);
  uint32_t rows = 3;
  SUBCASE("a few") {}
  SUBCASE("many") { rows = 100; }
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 2);
  bool more = true;
  target.before_begin = [&] {
    if (std::exchange(more, false)) transaction(publisher, 300, rows);
  };
  REQUIRE(apply_until(308));
  check_each_row_once(2 + rows);
  CHECK(target.commits == 2);
  CHECK((log.longest_wait > group_wait / 2) == (rows == 100));
}

TEST_CASE_FIXTURE(Fixture, "Apply: a lost reply of COMMIT has no double effect") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 2);
  target.lose_next_reply = true;
  REQUIRE(apply_until(208));
  check_each_row_once(2);
}

TEST_CASE_FIXTURE(Fixture, "Apply: a COMMIT that did not happen is done again") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 2);
  target.fail_next_commit = true;
  REQUIRE(apply_until(208));
  check_each_row_once(2);
}

TEST_CASE_FIXTURE(Fixture, "Apply: rows that no manifest names are skipped, also inside a range") {
  auto first = publisher_at(100, true);
  transaction(first, 200, 1);
  row(first, 300, 0);  // its commit never comes
  auto second = make_publisher();
  REQUIRE(second.claim(std::nullopt));
  REQUIRE(second.begin_at({1, Lsn{208}, {}, {}}, false, false));
  row(second, 300, 0);
  log.topics[kTopic].push_back(log.topics[kTopic][1]);  // the zombie's row again, inside the range
  row(second, 300, 1);
  REQUIRE(second.commit({1, Lsn{308}, Lsn{300}, TimeMicros{5}}));
  for (int i = 0; i < 4; ++i) REQUIRE(second.tick(true, Millis(0)));
  REQUIRE(apply_until(308));
  check_each_row_once(3);
}

TEST_CASE_FIXTURE(Fixture, "Apply: a range with fewer rows than its manifest names is corruption") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 3);
  log.topics[kTopic].pop_back();
  const auto applied = apply_until(208);
  REQUIRE_FALSE(applied);
  CHECK(applied.error().code() == ErrorCode::corruption);
  CHECK(target.rows.empty());
}

TEST_CASE_FIXTURE(Fixture, "Apply: a target behind what a manifest continues from is a gap") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 1);
  REQUIRE(apply_until(208));
  auto later = make_publisher();
  REQUIRE(later.claim(std::nullopt));
  REQUIRE(later.begin_at({1, Lsn{250}, {}, {}}, false, false));
  transaction(later, 300, 1);
  const auto applied = apply_until(308);
  REQUIRE_FALSE(applied);
  CHECK(applied.error().code() == ErrorCode::refused);
}

TEST_CASE_FIXTURE(Fixture, "Apply: a new target must begin at the origin of the stream") {
  auto publisher = publisher_at(100, false);
  transaction(publisher, 200, 1);
  const auto applied = apply_until(208);
  REQUIRE_FALSE(applied);
  CHECK(applied.error().code() == ErrorCode::refused);
}

TEST_CASE_FIXTURE(Fixture, "Apply: a lost log that begins again inside what was applied") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 1);
  transaction(publisher, 300, 1);
  REQUIRE(apply_until(308));
  log.control.clear();
  log.topics.clear();
  auto again = publisher_at(150, false);
  transaction(again, 200, 1);
  transaction(again, 300, 1);
  transaction(again, 400, 1);
  REQUIRE(apply_until(408));
  check_each_row_once(3);
}

// Found by docs/model/applying.pml with CONTAINED_BY_APPLIED.
TEST_CASE_FIXTURE(Fixture, "Apply: groups that overlap each other in one transaction") {
  group_rows = 10;
  auto first = publisher_at(100, true);
  row(first, 200, 0);
  REQUIRE(first.commit({1, Lsn{208}, Lsn{200}, TimeMicros{5}}));
  transaction(first, 300, 1);
  auto second = publisher_at(208, false);
  row(second, 300, 0);
  REQUIRE(second.commit({1, Lsn{308}, Lsn{300}, TimeMicros{5}}));
  transaction(second, 400, 1);
  REQUIRE(apply_until(408));
  CHECK(target.commits == 1);
  check_each_row_once(3);
}

TEST_CASE_FIXTURE(Fixture, "Apply: bad data ends the run when asked to, with nothing applied") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 1);
  target.reject = Error(ErrorCode::bad_data, "value too long");
  const auto applied = apply_until(208);
  REQUIRE_FALSE(applied);
  CHECK(applied.error().code() == ErrorCode::bad_data);
  CHECK(target.committed->watermark.end_lsn == Lsn{100});
}

TEST_CASE_FIXTURE(Fixture, "Apply: groups before the one that does not fit are applied") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 1);
  transaction(publisher, 300, 1);  // joined with the one before in the first attempt
  transaction(publisher, 400, 2);
  target.reject = Error(ErrorCode::bad_data, "value too long");
  target.reject_row = "events|300:0";
  REQUIRE_FALSE(apply_until(408));
  CHECK(target.committed->watermark.end_lsn == Lsn{208});
  target.reject.reset();
  REQUIRE(apply_until(408));
  check_each_row_once(4);
}

TEST_CASE_FIXTURE(Fixture, "Apply: transactions before the one that does not fit are applied") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 150, 1);
  for (const uint64_t commit : {200, 300, 400}) {  // one group
    row(publisher, commit, 0);
    row(publisher, commit, 1);
    row(publisher, commit, 2);
    REQUIRE(publisher.commit({1, Lsn{commit + 8}, Lsn{commit}, TimeMicros{5}}));
  }
  for (int i = 0; i < 4; ++i) REQUIRE(publisher.tick(true, Millis(0)));
  target.reject = Error(ErrorCode::bad_data, "value too long");
  target.reject_row = "events|300:2";
  REQUIRE_FALSE(apply_until(408));
  CHECK(target.committed->watermark.contains(Lsn{200}));
  CHECK_FALSE(target.committed->watermark.contains(Lsn{300}));
  check_each_row_once(4);
  REQUIRE_FALSE(apply_until(408));  // a restart stands inside the group
  check_each_row_once(4);
  target.reject.reset();
  REQUIRE(apply_until(408));
  check_each_row_once(10);
  CHECK(target.committed->watermark.end_lsn == Lsn{408});
}

TEST_CASE_FIXTURE(Fixture, "Apply: an applier whose target somebody else has moved is refused") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 1);
  target.before_begin = [&] { target.committed->watermark.end_lsn = Lsn{208}; };
  const auto applied = apply_until(208);
  REQUIRE_FALSE(applied);
  CHECK(applied.error().code() == ErrorCode::refused);
  CHECK(target.rows.empty());
}

TEST_CASE_FIXTURE(Fixture,
                  "Apply: one that was cut off and finds the target further on is refused") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 1);
  target.fail_next_commit = true;
  target.before_lock = [&](int before) {
    if (before == 1) target.committed->watermark.end_lsn = Lsn{408};
  };
  const auto applied = apply_until(208);
  REQUIRE_FALSE(applied);
  CHECK(applied.error().code() == ErrorCode::refused);
  CHECK(target.rows.empty());
}

TEST_CASE_FIXTURE(Fixture, "Apply: a target that went back is caught up with") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 1);
  transaction(publisher, 300, 1);
  REQUIRE(apply_until(208));
  target.fail_next_commit = true;
  target.before_lock = [&](int before) {
    if (before == 1) target.committed->watermark.end_lsn = Lsn{100};
  };
  REQUIRE(apply_until(308));
  CHECK(target.committed->watermark.end_lsn == Lsn{308});
}

TEST_CASE_FIXTURE(Fixture,
                  "Apply: a target of another instance is waited for a little, then refused") {
  auto publisher = publisher_at(100, true);
  transaction(publisher, 200, 1);
  applier_wait = Millis(300);
  target.locked_by_other = true;
  const auto began = system_clock().now();
  const auto applied = apply_until(208);
  REQUIRE_FALSE(applied);
  CHECK(applied.error().code() == ErrorCode::refused);
  CHECK(system_clock().now() - began >= Millis(300));
  CHECK(target.rows.empty());
  target.before_lock = [&](int before) { target.locked_by_other = before < 5; };
  applier_wait = Millis(15'000);
  REQUIRE(apply_until(208));
  check_each_row_once(1);
}

}  // namespace
}  // namespace millrace::pipeline
