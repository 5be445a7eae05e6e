// What a log promises, whichever it is: see contract.h.
#include "tests/unit/log/contract.h"

#include <random>
#include <set>

#include "tests/unit/log/log_fixture.h"

using namespace millrace;
using namespace millrace::log;
using namespace millrace::log::contract;

namespace {

std::string numbered(const std::string& what, int number) { return what + std::to_string(number); }

uint64_t rows_of(const std::vector<OffsetRange>& ranges) {
  uint64_t rows = 0;
  for (const OffsetRange& range : ranges) rows += range.rows;
  return rows;
}

}  // namespace

TEST_CASE("Producer: a sealed group is reported with its ranges, and read back byte by byte") {
  auto backend = make_backend({});
  const std::string topic = backend->topic(1);
  auto producer = must(backend->log().producer());
  const std::vector<std::pair<std::string, std::string>> records = {
      {"k1", "one"},
      {"", "no key"},
      {std::string("\0\xff", 2), std::string("\0\n\xc3", 3)},
      {"k2", ""},
      {"k1", "two"}};
  Reports reports;
  for (const auto& [key, value] : records) append(*producer, reports, 7, topic, key, value);
  must(producer->seal(7));
  reports.wait(*producer, 1, 0);

  REQUIRE(reports.groups[7].size() == 1);
  const OffsetRange range = reports.groups[7][0];
  CHECK(range.topic == topic);
  CHECK(range.partition == 0);
  CHECK(range.rows == records.size());
  CHECK(range.end - range.start == static_cast<LogOffset>(records.size()));
  CHECK(producer->queued_bytes() == 0);

  auto reader = must(backend->log().reader());
  const Rows rows = read(*reader, range);
  CHECK(rows.records == records);
  CHECK(rows.offsets.front() == range.start);
}

TEST_CASE("Producer: a group without records is durable too") {
  auto backend = make_backend({});
  auto producer = must(backend->log().producer());
  must(producer->seal(1));
  Reports reports;
  reports.wait(*producer, 1, 0);
  CHECK(reports.groups[1].empty());
}

TEST_CASE("Producer: nothing is reported before the group is sealed") {
  auto backend = make_backend({});
  const std::string topic = backend->topic(1);
  auto producer = must(backend->log().producer());
  Reports reports;
  append(*producer, reports, 1, topic, "k", "v");
  for (int i = 0; i < 5; i++) reports.add(must(producer->poll(Millis(50))));
  CHECK(reports.groups.empty());
  must(producer->seal(1));
  reports.wait(*producer, 1, 0);
  CHECK(rows_of(reports.groups[1]) == 1);
}

TEST_CASE(
    "Producer: groups in flight together are reported in their order, over several topics and "
    "partitions") {
  auto backend = make_backend({});
  const int partitions = std::min(3, backend->partitions_most());
  const std::vector<std::string> topics = {backend->topic(partitions), backend->topic(1)};
  auto producer = must(backend->log().producer());
  Reports reports;
  std::map<std::string, std::string> expected;
  for (GroupId group = 1; group <= 20; group++) {
    for (int i = 0; i < 50; i++) {
      const std::string key = "g" + std::to_string(group) + "r" + std::to_string(i);
      append(*producer, reports, group, topics[static_cast<size_t>(i % 2)], key, key + " value");
      expected[key] = key + " value";
    }
    must(producer->seal(group));
  }
  reports.wait(*producer, 20, 0);
  for (size_t i = 0; i < 20; i++) CHECK(reports.order[i] == i + 1);

  auto reader = must(backend->log().reader());
  std::map<std::string, std::string> found;
  std::set<int32_t> used;
  for (const auto& [group, ranges] : reports.groups) {
    CHECK(rows_of(ranges) == 50);
    for (const OffsetRange& range : ranges) {
      used.insert(range.partition);
      for (const auto& [key, value] : read(*reader, range).records) found[key] = value;
    }
  }
  CHECK(found == expected);
  CHECK(used.size() == static_cast<size_t>(partitions));
}

TEST_CASE("Producer: records of one key keep their order") {
  auto backend = make_backend({});
  const std::string topic = backend->topic(backend->partitions_most());
  auto producer = must(backend->log().producer());
  Reports reports;
  for (int i = 0; i < 3000; i++)
    append(*producer, reports, 1, topic, numbered("key", i % 7), std::to_string(i));
  must(producer->seal(1));
  reports.wait(*producer, 1, 0);
  auto reader = must(backend->log().reader());
  std::map<std::string, int> last;
  for (const OffsetRange& range : reports.groups[1]) {
    for (const auto& [key, value] : read(*reader, range).records) {
      CHECK(last[key] <= std::stoi(value));
      last[key] = std::stoi(value);
    }
  }
  CHECK(last.size() == 7);
}

TEST_CASE(
    "Producer: an oversize record is bad_data that names both sizes, and one of the limit's size "
    "goes") {
  auto backend = make_backend({.max_record_bytes = 1 << 20});
  const std::string topic = backend->topic(1);
  auto producer = must(backend->log().producer());
  const auto refused = producer->append(1, topic, "k", std::string(1 << 20, 'x'));
  REQUIRE(!refused);
  CHECK(refused.error().code() == ErrorCode::bad_data);
  CHECK(refused.error().message().find("1048577") != std::string::npos);
  CHECK(refused.error().message().find("1048576") != std::string::npos);

  std::string large((1 << 20) - 1, 'x');
  std::mt19937 random(1);
  for (char& c : large) c = static_cast<char>(random());
  Reports reports;
  append(*producer, reports, 2, topic, "k", large);
  must(producer->seal(2));
  reports.wait(*producer, 1, 0);
  auto reader = must(backend->log().reader());
  const Rows rows = read(*reader, reports.groups[2].at(0));
  REQUIRE(rows.records.size() == 1);
  CHECK(rows.records[0].second == large);
}

TEST_CASE("Producer: the budget bounds what is queued, and a group of any size gets through") {
  const size_t budget = 2 << 20;
  auto backend = make_backend({.memory_bytes = budget, .max_record_bytes = 1 << 20});
  const std::string topic = backend->topic(1);
  auto producer = must(backend->log().producer());
  Reports reports;
  size_t full = 0;
  size_t most = 0;
  const int count = 8;
  // Large ones, so that the log is slower than we are, also under a sanitizer.
  const std::string filler(500'000, 'x');
  for (int i = 0; i < count; i++) {
    const std::string value = std::to_string(i) + filler;
    for (;;) {
      if (must(producer->append(1, topic, "", value))) break;
      full++;
      reports.add(must(producer->poll(Millis(1000))));
    }
    most = std::max(most, producer->queued_bytes());
  }
  must(producer->seal(1));
  reports.wait(*producer, 1, 0);
  CHECK(full > 0);
  CHECK(most <= budget);
  auto reader = must(backend->log().reader());
  const Rows rows = read(*reader, reports.groups[1].at(0));
  REQUIRE(rows.records.size() == static_cast<size_t>(count));
  for (int i = 0; i < count; i++)
    CHECK(rows.records[static_cast<size_t>(i)].second.starts_with(std::to_string(i)));
}

TEST_CASE("Producer: two of them share a topic; a range may hold the other's records too") {
  auto backend = make_backend({});
  const std::string topic = backend->topic(1);
  auto mine = must(backend->log().producer());
  auto zombie = must(backend->log().producer());
  Reports my_reports;
  Reports zombie_reports;
  for (int round = 0; round < 5; round++) {
    append(*mine, my_reports, 1, topic, "", numbered("mine", round));
    append(*zombie, zombie_reports, static_cast<GroupId>(round), topic, "",
           numbered("zombie", round));
    must(zombie->seal(static_cast<GroupId>(round)));
    zombie_reports.wait(*zombie, static_cast<size_t>(round) + 1, 0);
  }
  must(mine->seal(1));
  my_reports.wait(*mine, 1, 0);
  const OffsetRange range = my_reports.groups[1].at(0);
  CHECK(range.rows == 5);
  auto reader = must(backend->log().reader());
  int found = 0;
  for (const auto& [key, value] : read(*reader, range).records)
    found += value.starts_with("mine") ? 1 : 0;
  CHECK(found == 5);
}

TEST_CASE(
    "Control records: ascending offsets in call order, read back by the tail and one by one") {
  auto backend = make_backend({});
  auto producer = must(backend->log().producer());
  auto reader = must(backend->log().reader());
  const Bounds before = must(reader->control_bounds());
  CHECK(before.start == before.end);
  for (uint64_t i = 0; i < 10; i++)
    must(producer->append_control(i, numbered("record ", static_cast<int>(i))));
  Reports reports;
  reports.wait(*producer, 0, 10);
  for (size_t i = 0; i < 10; i++) {
    CHECK(reports.controls[i].ticket == i);
    if (i > 0) CHECK(reports.controls[i].offset > reports.controls[i - 1].offset);
  }
  const Bounds after = must(reader->control_bounds());
  CHECK(after.end == reports.controls[9].offset + 1);

  must(reader->seek_control(reports.controls[2].offset));
  CHECK(must(reader->next_control(Millis(60'000)))->value == "record 2");
  CHECK(must(reader->control_at(reports.controls[7].offset)).value == "record 7");
  CHECK(must(reader->control_at(reports.controls[0].offset)).value == "record 0");
  const auto next = must(reader->next_control(Millis(60'000)));
  CHECK(next->value == "record 3");
  CHECK(next->offset == reports.controls[3].offset);
  must(reader->seek_control(after.end));
  CHECK(!must(reader->next_control(Millis(50))));
}

TEST_CASE("Control records: one is durable behind the rows that were appended before it") {
  auto backend = make_backend({});
  const std::string topic = backend->topic(1);
  auto producer = must(backend->log().producer());
  Reports reports;
  append(*producer, reports, 1, topic, "k", "v");
  must(producer->seal(1));
  reports.wait(*producer, 1, 0);
  must(producer->append_control(5, "manifest"));
  reports.wait(*producer, 1, 1);
  CHECK(reports.controls[0].ticket == 5);
  backend->reopen();
}

TEST_CASE("Log: what was durable is there after a new start, and offsets go on") {
  auto backend = make_backend({});
  const std::string topic = backend->topic(1);
  OffsetRange range;
  LogOffset control = -1;
  {
    auto producer = must(backend->log().producer());
    Reports reports;
    for (int i = 0; i < 100; i++) append(*producer, reports, 1, topic, "", numbered("first ", i));
    must(producer->seal(1));
    reports.wait(*producer, 1, 0);
    range = reports.groups[1].at(0);
    control = append_control(*producer, "one");
    // Orphans: their group is never sealed, no control record follows.
    append(*producer, reports, 2, topic, "", "orphan");
  }
  backend->reopen();
  auto producer = must(backend->log().producer());
  Reports reports;
  append(*producer, reports, 1, topic, "", "second");
  must(producer->seal(1));
  reports.wait(*producer, 1, 0);
  CHECK(append_control(*producer, "two") > control);
  auto reader = must(backend->log().reader());
  CHECK(reports.groups[1].at(0).start >= range.end);
  CHECK(read(*reader, range).records.size() == 100);
  CHECK(read(*reader, reports.groups[1].at(0)).records.at(0).second == "second");
  must(reader->seek_control(control));
  CHECK(must(reader->next_control(Millis(60'000)))->value == "one");
  CHECK(must(reader->next_control(Millis(60'000)))->value == "two");
}

TEST_CASE("Log: topics are made, checked and removed; a removed one's ranges are an error") {
  auto backend = make_backend({});
  if (!backend->manages_topics()) return;
  Log& log = backend->log();
  const std::string topic = backend->topic(1);
  must(log.ensure_topics({{topic, 1}}, true));
  must(log.ensure_topics({{topic, 1}}, false));
  const auto missing = log.ensure_topics({{topic + ".other", 1}}, false);
  REQUIRE(!missing);
  CHECK(missing.error().code() == ErrorCode::config);
  CHECK(missing.error().message().find(topic + ".other") != std::string::npos);

  auto producer = must(log.producer());
  Reports reports;
  append(*producer, reports, 1, topic, "", "v");
  must(producer->seal(1));
  reports.wait(*producer, 1, 0);
  must(log.remove_topics({{topic, 1}}));
  must(log.remove_topics({{topic, 1}}));
  auto reader = must(log.reader());
  auto cursor = reader->open(reports.groups[1].at(0));
  Error error = cursor ? Error(ErrorCode::fatal, "opened") : cursor.error();
  if (cursor) {
    const auto next = (*cursor)->next();
    REQUIRE(!next);
    error = next.error();
  }
  // Kafka asks again: a broker that has just started says the same of topics that it still loads.
  CHECK((error.code() == ErrorCode::refused || error.code() == ErrorCode::retryable));
  CHECK(error.message().find(topic) != std::string::npos);
}
