// History: what is kept at which age, with a clock that the test sets.
#include "relay/checkpoint/history.h"

#include <doctest/doctest.h>

#include "tests/unit/checkpoint/samples.h"

namespace millrace::checkpoint::test {
namespace {

constexpr TimeMicros kStart{INT64_MIN / 2};
constexpr TimeMicros kEnd{INT64_MAX};
constexpr Place kFirst{};
constexpr Place kLast{0xFFFFFFFF, Lsn{~0ULL}};

// A store at noon, and how many entries it has by either order.
struct Fixture {
  TemporaryFolder folder;
  FakeClock clock;
  std::unique_ptr<Store> store;

  Fixture() {
    clock.set(kNoon);
    store = open_owner(folder.path(), &clock);
  }
  void reopen() {
    store.reset();
    store = open_owner(folder.path(), &clock);
  }
  std::vector<Entry> all() {
    auto by_time = must(store->history(kStart, kEnd, 100'000));
    auto by_place = must(store->history(kFirst, kLast, 100'000));
    CHECK(by_time.size() == by_place.size());
    return by_time;
  }
  size_t thin_all() {
    size_t removed = 0;
    while (const size_t some = must(store->thin(100'000))) removed += some;
    return removed;
  }
};

TimeMicros before_noon(int64_t us) { return {kNoon.value - us}; }

}  // namespace

TEST_CASE_FIXTURE(Fixture, "history: by position, half-open, limited, across epochs") {
  for (int64_t n = 1; n <= 5; ++n) must(store->put(manifest(n, before_noon(100 - n)), false));
  Entry restored = manifest(6, before_noon(1));
  restored.epoch = 4;
  restored.watermark.end_lsn = Lsn{0x10};
  must(store->put(restored, false));

  const auto offsets = [](const std::vector<Entry>& entries) {
    std::vector<LogOffset> out;
    for (const Entry& entry : entries) out.push_back(entry.manifest_offset);
    return out;
  };
  const Place two{3, Lsn{0x1200}};
  const Place four{3, Lsn{0x1400}};
  CHECK(offsets(must(store->history(two, four, 99))) == std::vector<LogOffset>{2, 3});
  CHECK(offsets(must(store->history(two, kLast, 99))) == std::vector<LogOffset>{2, 3, 4, 5, 6});
  CHECK(offsets(must(store->history(two, kLast, 2))) == std::vector<LogOffset>{5, 6});
  CHECK(must(store->history(two, two, 99)).empty());
  CHECK(must(store->history(four, two, 99)).empty());
  CHECK(must(store->history(two, four, 0)).empty());
  CHECK(must(store->history_at(four))->manifest_offset == 4);
  CHECK(must(store->history_at(Place{3, Lsn{0x13FF}}))->manifest_offset == 3);
  CHECK(must(store->history_at(Place{3, Lsn{~0ULL}}))->manifest_offset == 5);
  CHECK(must(store->history_at(kLast))->manifest_offset == 6);
  CHECK(!must(store->history_at(Place{3, Lsn{0x10FF}})));
}

TEST_CASE_FIXTURE(Fixture, "history: by time, half-open, limited") {
  for (int64_t n = 1; n <= 5; ++n) must(store->put(manifest(n, {n * 10}), false));
  CHECK(must(store->history(TimeMicros{20}, TimeMicros{40}, 99)).size() == 2);
  CHECK(must(store->history(TimeMicros{11}, TimeMicros{41}, 2)).front().manifest_offset == 3);
  CHECK(must(store->history_at(TimeMicros{40}))->manifest_offset == 4);
  CHECK(must(store->history_at(TimeMicros{39}))->manifest_offset == 3);
  CHECK(must(store->history_at(TimeMicros{INT64_MAX}))->manifest_offset == 5);
  CHECK(!must(store->history_at(TimeMicros{9})));
}

TEST_CASE_FIXTURE(Fixture,
                  "history: one position may have several manifests, one manifest one entry") {
  Entry repeated = manifest(1, before_noon(50));
  must(store->put(repeated, false));
  repeated.manifest_offset = 2;  // the hourly repeat of an idle pipeline
  must(store->put(repeated, false));
  CHECK(all().size() == 2);
  repeated.at = before_noon(7);  // the same manifest again, by another clock
  must(store->add_history(repeated));
  CHECK(all().size() == 2);
  CHECK(all().back() == repeated);
}

TEST_CASE_FIXTURE(Fixture,
                  "thin: all of the last hour stay, then one a second, to the microsecond") {
  const TimeMicros second = before_noon(kHour + kSecond);  // the start of a second
  REQUIRE(second.value % kSecond == 0);
  must(store->put(manifest(1, second), false));
  must(store->put(manifest(2, {second.value + 1}), false));
  must(store->put(manifest(3, {second.value + kSecond - 1}), false));
  must(store->put(manifest(4, {second.value + kSecond}), false));  // exactly an hour: still young
  must(store->put(manifest(5, {second.value + kSecond + 1}), false));
  CHECK(thin_all() == 2);
  const auto left = all();
  REQUIRE(left.size() == 3);
  CHECK(left[0].manifest_offset == 1);
  CHECK(left[1].manifest_offset == 4);
  CHECK(left[2].manifest_offset == 5);
  clock.set({kNoon.value + 2 * kSecond});  // now 4 and 5 are old, and of one second
  CHECK(thin_all() == 1);
  CHECK(all().back().manifest_offset == 4);
}

TEST_CASE_FIXTURE(Fixture, "thin: one a minute after a day, none after thirty") {
  const int64_t minute = 60 * kSecond;
  for (int64_t n = 0; n < 180; ++n) {  // three minutes, one a second
    must(store->put(manifest(n, before_noon(kDay + 3 * minute - n * kSecond)), false));
  }
  thin_all();
  const auto left = all();
  REQUIRE(left.size() == 3);
  CHECK(left[1].manifest_offset == 60);
  clock.set({kNoon.value + 29 * kDay - 3 * minute + 1});  // the first is a microsecond too old
  CHECK(thin_all() == 1);
  CHECK(all().front().manifest_offset == 60);
  clock.set({kNoon.value + 40 * kDay});
  CHECK(thin_all() == 2);
  CHECK(all().empty());
}

TEST_CASE_FIXTURE(Fixture, "thin: bounded work a call, and it goes on where it stopped") {
  for (int64_t n = 0; n < 1000; ++n) {
    must(store->add_history(manifest(n, before_noon(2 * kHour - n))));  // one second
  }
  // put() has thinned while adding; what is left goes in steps of ten.
  const size_t left = all().size();
  for (size_t rounds = 0; rounds <= left / 10 + 1; ++rounds) CHECK(must(store->thin(10)) <= 10);
  CHECK(all().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "thin: adding alone keeps the history thin") {
  for (int64_t n = 0; n < 20'000; ++n) {  // a hundred a second
    clock.set({kNoon.value + n * 10'000});
    must(store->put(manifest(n, {clock.wall().value - kHour}), false));
  }
  CHECK(all().size() < 300);  // 200 seconds, and the few that wait for their turn
}

TEST_CASE_FIXTURE(Fixture, "thin: after a restart it keeps what it had kept") {
  for (int64_t n = 0; n < 100; ++n) {
    must(store->add_history(manifest(n, before_noon(2 * kHour - n * 100'000))));  // ten seconds
  }
  thin_all();
  const auto kept = all();
  CHECK(kept.size() == 10);
  reopen();
  CHECK(thin_all() == 0);
  CHECK(all() == kept);
}

TEST_CASE("thin: a crowded history keeps less than an hour whole") {
  const TemporaryFolder folder;
  FakeClock clock;
  clock.set(kNoon);
  const auto store = must(Store::open(
      {.path = folder.path(), .pipeline = "shop", .history_entries_max = 100, .clock = &clock}));
  for (int64_t n = 0; n < 5000; ++n) {  // ten seconds, half an hour ago
    must(store->put(manifest(n, before_noon(kHour / 2 - n * 2000)), false));
  }
  while (must(store->thin(10'000)) > 0) {
  }
  CHECK(must(store->history(kStart, kEnd, 10'000)).size() < 200);
}

}  // namespace millrace::checkpoint::test
