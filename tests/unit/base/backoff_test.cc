#include "relay/base/backoff.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace millrace::test {

TEST_CASE("Backoff: between half and the whole of a doubling bound") {
  Backoff backoff(Millis(100), Millis(1000), 7);
  for (const int bound : {100, 200, 400, 800, 1000, 1000, 1000}) {
    const auto wait = backoff.next();
    CHECK(wait >= Millis(bound / 2));
    CHECK(wait <= Millis(bound));
  }
}

TEST_CASE("Backoff: reset begins again") {
  Backoff backoff(Millis(100), Millis(100'000));
  for (int i = 0; i < 8; ++i) backoff.next();
  backoff.reset();
  CHECK(backoff.next() <= Millis(100));
}

TEST_CASE("Backoff: seeds differ in their jitter, and a bound of nothing is no trap") {
  std::set<std::vector<int64_t>> sequences;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Backoff backoff(Millis(1000), Millis(60'000), seed * 2);
    std::vector<int64_t> waits;
    for (int i = 0; i < 6; ++i) waits.push_back(backoff.next().count());
    sequences.insert(waits);
  }
  CHECK(sequences.size() == 20);
  Backoff zero(Millis(0), Millis(0));
  CHECK(zero.next() == Millis(0));
  Backoff one(Millis(1), Millis(1));
  CHECK(one.next() <= Millis(1));
}

TEST_CASE("sleep_for: sleeps, and a stop ends it early") {
  CHECK(sleep_for(std::stop_token(), Millis(1)));
  std::stop_source stop;
  const auto start = std::chrono::steady_clock::now();
  std::jthread stopper([&stop] {
    std::this_thread::sleep_for(Millis(20));
    stop.request_stop();
  });
  CHECK(!sleep_for(stop.get_token(), Millis(60'000)));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
  CHECK(!sleep_for(stop.get_token(), Millis(60'000)));
}

}  // namespace millrace::test
