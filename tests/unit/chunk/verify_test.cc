#include "relay/chunk/verify.h"

#include <doctest/doctest.h>

#include "relay/base/logging.h"
#include "relay/base/mutation.h"
#include "verify_world.h"

namespace millrace::chunk {
namespace {

constexpr int kHistories = 400;

VerifyOptions small(uint64_t seed) {
  VerifyOptions options;
  options.chunk_rows = 3 + seed % 9;
  options.chunks_at_once = 1 + seed % 5;
  options.suspects_max = 5 + seed % 40;
  options.rounds = 8;
  return options;
}

VerifyReport run(VerifyWorld& world, uint64_t seed) {
  logging::set_level(logging::Level::error);  // it says whom it waits for
  const WaitingClock clock;
  Verify verify(world.sides(), clock, small(seed), {});
  const TablePlan plan = world.plan();
  REQUIRE(verify.table(0, plan));
  return verify.report();
}

int key_of(const RowReport& row) { return std::stoi(row.key.front().second); }

std::map<int, std::string> kinds(const VerifyReport& report) {
  std::map<int, std::string> out;
  for (const RowReport& row : report.rows) out[key_of(row)] = row.kind;
  return out;
}

int false_differences(bool lsn_only) {
  int found = 0;
  for (uint64_t seed = 0; seed < kHistories; ++seed) {
    WorldOptions options;
    options.seed = seed;
    options.moves_max = static_cast<int>(1 + seed % 12);
    options.lsn_only = lsn_only;
    VerifyWorld world(options);
    for (const auto& [key, kind] : kinds(run(world, seed))) found += kind != "unresolved";
  }
  return found;
}

TEST_CASE(
    "Verify: a target without damage never differs, whatever is written and whenever it shows") {
  CHECK(false_differences(false) == 0);
}

#ifdef MILLRACE_MUTATIONS
TEST_CASE("Verify: rows that changed behind the floor would be differences, were they judged") {
  set_mutations("judge_changing");
  CHECK(false_differences(false) > 0);
  set_mutations("");
}
#endif

TEST_CASE("Verify: marks by LSN alone would find differences that are none") {
  CHECK(false_differences(true) > 0);
}

TEST_CASE(
    "Verify: damage to rows at rest is found, each with its kind, under writes to all others") {
  for (uint64_t seed = 0; seed < kHistories; ++seed) {
    CAPTURE(seed);
    WorldOptions options;
    options.seed = seed;
    options.moves_max = static_cast<int>(1 + seed % 12);
    options.left_alone = {3, 17, 31, 45, 60, 61};
    VerifyWorld world(options);
    world.lose(3);
    world.spoil(17, "spoilt");
    world.set_back(31, "old");
    world.add_extra(60, true);
    world.add_extra(61, false);
    auto got = kinds(run(world, seed));
    std::erase_if(got, [](const auto& one) { return one.second == "unresolved"; });
    const std::map<int, std::string> expected = {
        {3, "missing"}, {17, "different"}, {31, "different"}, {60, "extra"}, {61, "extra"}};
    CHECK(got == expected);
  }
}

TEST_CASE("Verify: damage anywhere is found or unresolved, and nothing else is called damage") {
  int damaged_rows = 0;
  for (uint64_t seed = 0; seed < kHistories; ++seed) {
    CAPTURE(seed);
    WorldOptions options;
    options.seed = seed;
    options.moves_max = static_cast<int>(seed % 4);
    VerifyWorld world(options);
    const std::set<int> damaged = {3, 4, 5, 17, 18, 19};
    for (const int key : {3, 4, 5}) world.lose(key);
    for (const int key : {17, 18, 19}) world.spoil(key, "spoilt");
    world.begin_damage();
    const auto got = kinds(run(world, seed));
    for (const auto& [key, kind] : got) {
      if (kind != "unresolved") CHECK(damaged.contains(key));
    }
    world.rest();
    for (const int key : damaged) {
      if (world.written_since_damage(key)) continue;  // the stream has mended it
      ++damaged_rows;
      CHECK(got.contains(key));
      CHECK(world.is_damaged(key));
    }
  }
  CHECK(damaged_rows > 100);
}

TEST_CASE("Verify: a row that changes at every look is unresolved and never equal") {
  for (uint64_t seed = 1; seed < 50; ++seed) {
    CAPTURE(seed);
    WorldOptions options;
    options.seed = seed;
    options.hot = 20;
    options.hang = 0;
    VerifyWorld world(options);
    world.spoil(21, "spoilt");
    const VerifyReport report = run(world, seed);
    const TableReport& table = report.tables.front();
    const auto got = kinds(report);
    if (got.contains(20)) CHECK(got.at(20) == "unresolved");
    CHECK(table.compared ==
          table.equal + table.missing + table.extra + table.different + table.unresolved);
  }
}

TEST_CASE("Verify: at rest every row is compared") {
  WorldOptions options;
  options.moves_max = 0;
  VerifyWorld world(options);
  const VerifyReport report = run(world, 1);
  CHECK(report.tables.front().equal == 60);
  CHECK(report.rows.empty());
  CHECK(report.from <= report.to);
}

TEST_CASE("Verify: only the range that was asked for is compared, and its parts add up") {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    CAPTURE(seed);
    WorldOptions still;
    still.seed = seed;
    still.moves_max = 0;
    VerifyWorld world(still);
    for (const int key : {9, 10, 30, 49, 50}) world.lose(key);
    const WaitingClock clock;
    VerifyOptions options = small(seed);
    options.ranges = 1 + seed % 7;
    Verify verify(world.sides(), clock, options, {});
    const TablePlan plan = world.plan();
    const auto report =
        verify.table(0, plan, {compare::Key{"000009"}, compare::Key{"000049"}});  // ] 9, 49 ]
    REQUIRE(report);
    CHECK(report->compared == 40);
    CHECK(report->missing == 3);
    if (options.ranges == 1) continue;
    CHECK(report->ranges.size() == options.ranges);
    uint64_t compared = 0, missing = 0;
    for (const RangeReport& part : report->ranges) {
      compared += part.compared;
      missing += part.missing;
    }
    CHECK(compared == 40);
    CHECK(missing == 3);
    CHECK(report->ranges.front().missing == 1);
    CHECK(report->ranges.back().range.until == compare::Key{"000049"});
  }
}

TEST_CASE("Verify: where the target sorts keys otherwise, each row is counted once all the same") {
  for (int scramble = 2; scramble < 40; ++scramble) {
    CAPTURE(scramble);
    WorldOptions options;
    options.moves_max = 0;
    options.scramble = scramble;
    VerifyWorld world(options);
    world.lose(3);
    world.spoil(17, "spoilt");
    world.add_extra(70, true);
    const VerifyReport report = run(world, static_cast<uint64_t>(scramble));
    const TableReport& table = report.tables.front();
    CHECK(table.equal == 58);
    CHECK(table.missing == 1);
    CHECK(table.extra == 1);
    CHECK(table.different == 1);
    CHECK(report.rows.size() == 3);
  }
}

TEST_CASE("Verify: many extra rows in one range are read in parts") {
  WorldOptions options;
  options.moves_max = 0;
  options.keys = 2;
  VerifyWorld world(options);
  for (int key = 2; key < 500; ++key) world.add_extra(key, true);
  const VerifyReport report = run(world, 0);
  CHECK(report.tables.front().extra == 498);
  CHECK(report.tables.front().equal == 2);
}

TEST_CASE("Verify: a table that is being copied is undecided") {
  WorldOptions options;
  options.moves_max = 0;
  VerifyWorld world(options);
  sink::CopyJob job;
  job.id = 5;
  job.table = "public.t";
  job.state = sink::JobState::running;
  int asked = 0;
  const auto verify_with = [&](int starts_at, sink::JobState state) {
    asked = 0;
    auto sides = world.sides();
    sides.jobs = [&, starts_at, state]() -> Result<std::vector<sink::CopyJob>> {
      sink::CopyJob now = job;
      now.state = state;
      return asked++ < starts_at ? std::vector<sink::CopyJob>() : std::vector<sink::CopyJob>{now};
    };
    const WaitingClock clock;
    Verify verify(std::move(sides), clock, small(1), {});
    const TablePlan plan = world.plan();
    const auto table = verify.table(0, plan);
    REQUIRE(table);
    return *table;
  };
  CHECK(verify_with(0, sink::JobState::running).why.find("job 5") != std::string::npos);
  CHECK(verify_with(1, sink::JobState::done).undecided());  // began and ended meanwhile
  CHECK(verify_with(1, sink::JobState::done).equal == 0);
  CHECK_FALSE(verify_with(0, sink::JobState::done).undecided());  // was done before
}

TEST_CASE("Verify: a sample is the same for the same seed, and a part of the whole") {
  WorldOptions options;
  options.moves_max = 0;
  options.keys = 1000;
  VerifyWorld world(options);
  const auto sampled = [&](uint64_t seed, double share = 0.2) {
    VerifyOptions few = small(0);
    few.sample = share;
    few.seed = seed;
    const WaitingClock clock;
    Verify verify(world.sides(), clock, few, {});
    const TablePlan plan = world.plan();
    return verify.table(0, plan)->equal;
  };
  CHECK(sampled(1) == sampled(1));
  CHECK(sampled(1) > 50);
  CHECK(sampled(1) < 400);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    CAPTURE(seed);
    CHECK(sampled(seed, 1e-9) > 0);  // nothing compared would prove nothing
  }
}

TEST_CASE("Verify: a table without a key is compared as a whole, and only when it rested") {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    WorldOptions options;
    options.seed = seed;
    options.moves_max = static_cast<int>(seed % 3);
    VerifyWorld world(options);
    const bool damaged = seed % 2 == 0;
    if (damaged) world.add_extra(70, false);
    const WaitingClock clock;
    Verify verify(world.sides(), clock, small(seed), {});
    TablePlan plan = world.plan();
    plan.keyed = false;
    const auto table = verify.table(0, plan);
    REQUIRE(table);
    if (!damaged) CHECK_FALSE(table->differs());
    if (damaged) CHECK(table->equal == 0);
    if (options.moves_max == 0) CHECK(table->differs() == damaged);
  }
}

}  // namespace
}  // namespace millrace::chunk
