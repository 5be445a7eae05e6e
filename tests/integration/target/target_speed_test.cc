// What a row costs, end to end through the target: printed, and bounded loosely.
#include <chrono>
#include <functional>

#include <doctest/doctest.h>

#include "tests/integration/target/target_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {

constexpr int kRows = 10000;
constexpr int kRounds = 5;

double row_us(const std::function<void(int round)>& run) {
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0; round < kRounds; ++round) run(round);
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
             .count() /
         kRounds / kRows;
}

}  // namespace

TEST_CASE("speed: 10,000 rows of 5 columns") {
  World world;
  for (const char* schema : {"src", "dst"}) {
    world.db().run(std::string("CREATE TABLE ") + schema +
                   ".t (id bigint PRIMARY KEY, a int, b text, c timestamptz, d numeric)");
  }
  const auto t = world.add("t");
  world.open();
  const auto history = [&](int round, int offset, bool update, bool partial) {
    auto h = std::make_unique<History>(static_cast<uint64_t>(
        1000 + 1000 * round + (update ? 1000000 : 0) + (partial ? 5000000 : 0)));
    for (int i = 0; i < kRows; ++i) {
      const std::string id = std::to_string(offset + i);
      const std::string b = "a text of some thirty bytes " + id;
      const std::vector<Value> row = {text(id), text("12345"), partial ? unchanged() : text(b),
                                      text("2026-01-01 00:00:00.123456+00"), text("1234.56")};
      if (update) {
        h->update(t, row);
      } else {
        h->insert(t, row);
      }
    }
    return h;
  };
  std::vector<std::unique_ptr<History>> inserts, updates, partials;
  for (int round = 0; round < kRounds; ++round) {
    inserts.push_back(history(round, round * kRows, false, false));
    updates.push_back(history(round, round * kRows, true, false));
    partials.push_back(history(round, round * kRows, true, true));
  }
  const double insert =
      row_us([&](int r) { REQUIRE(world.apply(*inserts[static_cast<size_t>(r)])); });
  const double update =
      row_us([&](int r) { REQUIRE(world.apply(*updates[static_cast<size_t>(r)])); });
  const double partial =
      row_us([&](int r) { REQUIRE(world.apply(*partials[static_cast<size_t>(r)])); });
  CHECK(world.db().one("SELECT count(*) FROM dst.t") == std::to_string(kRows * kRounds));
  const auto start = std::chrono::steady_clock::now();
  constexpr int kSingles = 300;
  for (int i = 0; i < kSingles; ++i) {
    History h(static_cast<uint64_t>(20000000 + i * 100));
    h.update(t, {text(std::to_string(i)), text("1"), text("b"), null(), null()});
    REQUIRE(world.apply(h));
  }
  const double single =
      std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() /
      kSingles;
  MESSAGE("us a row: insert " << insert << ", update " << update << ", partial update " << partial
                              << "; us a one-row transaction: " << single);
  CHECK(insert < 2000);  // a statement a row would be more, on any machine
  CHECK(update < 2000);
}
