// The contract's cases of readers and their cursors.
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/log/contract.h"
#include "tests/unit/log/log_fixture.h"

using namespace millrace;
using namespace millrace::log;
using namespace millrace::log::contract;

namespace {

Millis since(SteadyTime start) {
  return std::chrono::duration_cast<Millis>(system_clock().now() - start);
}

}  // namespace

TEST_CASE("Reader: the tail waits for what is appended later, and no longer than it was told") {
  auto backend = make_backend({});
  auto reader = must(backend->log().reader());
  auto producer = must(backend->log().producer());
  must(reader->seek_control(must(reader->control_bounds()).end));
  const SteadyTime start = system_clock().now();
  CHECK(!must(reader->next_control(Millis(100))));
  CHECK(since(start) >= Millis(95));
  CHECK(since(start) < Millis(20'000));
  std::thread later([&] {
    std::this_thread::sleep_for(Millis(100));
    append_control(*producer, "woken");
  });
  const SteadyTime asked = system_clock().now();
  const auto entry = must(reader->next_control(Millis(120'000)));
  later.join();
  REQUIRE(entry);
  CHECK(entry->value == "woken");
  CHECK(since(asked) < Millis(60'000));
}

TEST_CASE("Reader: a place outside the manifest topic's bounds is refused") {
  auto backend = make_backend({});
  auto producer = must(backend->log().producer());
  const LogOffset last = append_control(*producer, "one");
  auto reader = must(backend->log().reader());
  const auto beyond = reader->seek_control(last + 2);
  REQUIRE(!beyond);
  CHECK(beyond.error().code() == ErrorCode::refused);
  CHECK(beyond.error().message().find(backend->manifest_topic()) != std::string::npos);
  const auto missing = reader->control_at(last + 5);
  REQUIRE(!missing);
  CHECK(missing.error().code() == ErrorCode::refused);
}

TEST_CASE("Reader: a range beyond the end is refused, naming topic, partition and offset") {
  auto backend = make_backend({});
  const std::string topic = backend->topic(1);
  auto producer = must(backend->log().producer());
  Reports reports;
  append(*producer, reports, 1, topic, "k", "v");
  must(producer->seal(1));
  reports.wait(*producer, 1, 0);
  auto reader = must(backend->log().reader());
  OffsetRange range = reports.groups[1].at(0);
  range.start += 100;
  range.end += 120;
  auto cursor = reader->open(range);
  Error error = cursor ? Error(ErrorCode::fatal, "opened") : cursor.error();
  if (cursor) {
    const auto next = (*cursor)->next();
    REQUIRE(!next);
    error = next.error();
  }
  CHECK(error.code() == ErrorCode::refused);
  CHECK(error.message().find(topic) != std::string::npos);
  CHECK(error.message().find("partition 0") != std::string::npos);
  CHECK(error.message().find("offset 1") != std::string::npos);
}

TEST_CASE("Reader: ranges in any order, inside blocks and side by side") {
  auto backend = make_backend({});
  const std::string topic = backend->topic(1);
  auto producer = must(backend->log().producer());
  Reports reports;
  for (int i = 0; i < 1000; i++) append(*producer, reports, 1, topic, "", std::to_string(i));
  must(producer->seal(1));
  reports.wait(*producer, 1, 0);
  const OffsetRange all = reports.groups[1].at(0);
  auto reader = must(backend->log().reader());
  const auto piece = [&](LogOffset from, LogOffset to) {
    return OffsetRange{topic, 0, all.start + from, all.start + to,
                       static_cast<uint64_t>(to - from)};
  };
  for (const auto& [from, to] : {std::pair<int, int>{0, 10},
                                 {10, 400},
                                 {400, 1000},
                                 {999, 1000},
                                 {5, 7},
                                 {300, 301},
                                 {0, 1000}}) {
    const Rows rows = read(*reader, piece(from, to));
    REQUIRE(rows.records.size() == static_cast<size_t>(to - from));
    CHECK(rows.records.front().second == std::to_string(from));
    CHECK(rows.records.back().second == std::to_string(to - 1));
  }
  CHECK(read(*reader, piece(4, 4)).records.empty());

  auto low = must(reader->open(piece(0, 1000)));
  auto high = must(reader->open(piece(500, 1000)));
  for (int i = 0; i < 20; i++) {
    const auto a = must(low->next());
    CHECK(a->value == std::to_string(i));
    const auto b = must(high->next());
    CHECK(b->value == std::to_string(500 + i));
    CHECK(a->value == std::to_string(i));  // views last until the next call on their own cursor
  }
}

// Of so many, most are stopped while they rest.
TEST_CASE("Reader: a cursor that rested gives its last record again, and goes on") {
  constexpr int kTopics = 40;
  constexpr int kRows = 12;
  auto backend = make_backend({size_t{512} << 10, size_t{256} << 10});
  auto producer = must(backend->log().producer());
  Reports reports;
  std::vector<std::string> topics;
  for (int i = 0; i < kTopics; i++) topics.push_back(backend->topic(1));
  // Together more than the memory.
  const auto value = [](int row) {
    return std::to_string(row) + std::string(row % 4 < 2 ? 2000 : 20'000, '.');
  };
  for (int row = 0; row < kRows; row++) {
    for (const std::string& topic : topics) append(*producer, reports, 1, topic, "", value(row));
  }
  must(producer->seal(1));
  reports.wait(*producer, 1, 0);
  auto reader = must(backend->log().reader());
  std::vector<std::unique_ptr<RangeCursor>> cursors;
  for (const OffsetRange& range : reports.groups[1]) cursors.push_back(must(reader->open(range)));
  REQUIRE(cursors.size() == kTopics);
  for (int row = 0; row < kRows; row++) {
    for (auto& cursor : cursors) {
      const auto first = must(cursor->next());
      REQUIRE(first);
      REQUIRE(first->value == value(row));
      const LogOffset offset = first->offset;
      cursor->rest();
      if (row % 2 == 0) must(cursor->prepare());
      if (row % 3 == 0) cursor->rest();  // it may rest again before it was read
      const auto again = must(cursor->next());
      REQUIRE(again);
      CHECK(again->offset == offset);
      CHECK(again->value == value(row));
      if (row % 5 == 0) cursor->rest();
      if (row % 5 == 0) must(cursor->next());
      if (row % 7 == 0) cursor->rest();  // the others are read meanwhile
    }
    for (auto& cursor : cursors) {
      if (row % 7 == 0) CHECK(must(cursor->next())->value == value(row));
    }
  }
  for (auto& cursor : cursors) CHECK_FALSE(must(cursor->next()));
}

TEST_CASE("Reader: interrupt makes a waiting call return cancelled") {
  auto backend = make_backend({});
  auto reader = must(backend->log().reader());
  must(reader->seek_control(0));
  std::thread other([&] {
    std::this_thread::sleep_for(Millis(100));
    reader->interrupt();
  });
  const SteadyTime start = system_clock().now();
  const auto entry = reader->next_control(Millis(120'000));
  other.join();
  REQUIRE(!entry);
  CHECK(entry.error().code() == ErrorCode::cancelled);
  CHECK(since(start) < Millis(60'000));
}
