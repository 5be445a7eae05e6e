#include "relay/chunk/backfill.h"

#include <thread>

#include <doctest/doctest.h>

#include "tests/unit/chunk/fakes.h"

namespace millrace::chunk {
namespace {

using sink::CopyJob;
using sink::JobState;

struct Bench {
  test::FakeWorld world;
  test::HistoryTarget target;
  Options options;
  std::unique_ptr<Backfill> backfill;

  explicit Bench(std::map<std::string, int> tables) {
    for (const auto& [name, rows] : tables) options.tables.push_back(test::numbered_table(name));
    for (const auto& [name, rows] : tables) world.rows["public." + name] = rows;
    options.source = [this](std::stop_token) { return std::make_unique<test::FakeSource>(world); };
    options.rows = [](std::stop_token) { return std::make_unique<test::NoRows>(); };
    options.on_start = true;
    options.look_every = Millis(5);
  }
  Status attach(bool fresh = true) {
    if (!backfill) backfill = std::make_unique<Backfill>(options, system_clock());
    return backfill->attach(target, fresh, {});
  }
  // Turns until `done`, or for so long.
  bool turn_until(const std::function<bool()>& done, Status* error = nullptr) {
    for (const SteadyTime until = system_clock().now() + Millis(300'000);
         system_clock().now() < until;) {
      if (done()) return true;
      auto status = backfill->turn(false);
      if (!status && error != nullptr) *error = status;
      if (!status) return false;
      std::this_thread::sleep_for(Millis(1));
    }
    return false;
  }
  bool all_done() {
    return !target.box.kept.empty() &&
           std::all_of(target.box.kept.begin(), target.box.kept.end(),
                       [](const CopyJob& j) { return j.state == JobState::done; });
  }
};

}  // namespace

TEST_CASE(
    "Backfill: chunks are binary when the target takes them, and text again when it does not") {
  for (const bool refused : {false, true}) {
    CAPTURE(refused);
    Bench bench({{"a", 50'000}});
    bench.target.box.binary = true;
    REQUIRE(bench.attach());
    REQUIRE(bench.turn_until([&] { return bench.target.box.binary_rows > 0; }));
    const uint64_t before = bench.target.box.binary_rows;
    if (refused) bench.target.box.write_fails = Error(ErrorCode::negative, "as text, please");
    REQUIRE(bench.turn_until([&] { return bench.all_done(); }));
    CHECK(bench.target.box.copied.size() == 50'000);
    CHECK(bench.target.box.copied.count("public.a 50000") == 1);
    CHECK((bench.target.box.binary_rows == before) == refused);
  }
}

TEST_CASE("Backfill: copies every row of every table once, and lets go of tombstones") {
  Bench bench({{"a", 5000}, {"b", 1}, {"c", 0}});
  REQUIRE(bench.attach());
  CHECK(bench.target.box.watched.size() == 3);
  REQUIRE(bench.turn_until([&] { return bench.all_done(); }));
  CHECK(bench.target.box.copied.size() == 5001);
  CHECK(bench.target.box.copied.count("public.a 5000") == 1);
  CHECK(bench.target.box.watched.empty());
  CHECK_FALSE(bench.backfill->settled(Lsn{1}));
  CHECK(bench.backfill->settled(Lsn{bench.world.end_of_wal}));
  CHECK(bench.backfill->progress().state == "done");
}

TEST_CASE("Backfill: a table waits for its parents, and for nobody else") {
  Bench bench({{"a", 100}, {"b", 100}, {"c", 100}, {"d", 100}});
  bench.options.parallel = 1;
  auto& box = bench.target.box;
  box.kins = {{"public.a", {"A", {"B"}}},
              {"public.b", {"B", {}}},
              {"public.c", {"C", {}}},
              {"public.d", {"D", {"A", "B"}}}};
  REQUIRE(bench.attach());
  REQUIRE(bench.turn_until([&] { return bench.all_done(); }));
  CHECK(box.started == std::vector<std::string>{"public.b", "public.a", "public.c", "public.d"});
}

TEST_CASE("Backfill: nothing is read before the mark is seen, and who is waited for is named") {
  Bench bench({{"a", 10}});
  bench.world.visible = false;
  REQUIRE(bench.attach());
  REQUIRE(bench.turn_until(
      [&] { return bench.backfill->progress().why.find("transaction 6") != std::string::npos; }));
  CHECK(bench.world.reads == 0);
  CHECK(bench.target.box.kept[0].state == JobState::waiting);
  {
    const std::lock_guard lock(bench.world.mutex);
    bench.world.visible = true;
  }
  CHECK(bench.turn_until([&] { return bench.all_done(); }));
}

TEST_CASE("Backfill: goes on behind the last chunk, also when its answer was lost") {
  Bench bench({{"a", 9000}});
  REQUIRE(bench.attach());
  REQUIRE(bench.turn_until([&] { return bench.target.box.kept[0].rows_done > 0; }));
  bench.target.box.lose_reply = true;
  Status error;
  CHECK_FALSE(bench.turn_until([&] { return false; }, &error));
  CHECK(error.error().code() == ErrorCode::retryable);
  bench.backfill->detach();
  const auto begun_anew = bench.world.read_from.size();
  REQUIRE(bench.attach());
  REQUIRE(bench.turn_until([&] { return bench.all_done(); }));
  CHECK(bench.target.box.copied.size() == 9000);
  CHECK(bench.world.read_from.size() > begun_anew);
  for (size_t i = begun_anew; i < bench.world.read_from.size(); ++i) {
    CHECK(bench.world.read_from[i] > 0);
  }
  CHECK(bench.world.marks == 2);  // one before the first row, one at the end
}

TEST_CASE("Backfill: a restart makes what was read void, and waits for a mark of its own") {
  Bench bench({{"a", 4000}});
  REQUIRE(bench.attach());
  REQUIRE(bench.turn_until([&] { return bench.target.box.kept[0].rows_done > 0; }));
  {  // as a TRUNCATE that the stream brings
    const std::lock_guard lock(bench.world.mutex);
    bench.world.visible = false;
    bench.world.rows["public.a"] = 50;
  }
  CopyJob& job = bench.target.box.kept[0];
  ++job.restarts;
  job.done_to.reset();
  bench.target.box.copied.clear();
  const int marks = bench.world.marks;
  REQUIRE(bench.turn_until([&] { return bench.world.marks > marks; }));
  for (int i = 0; i < 20; ++i) REQUIRE(bench.backfill->turn(false));
  CHECK(bench.target.box.copied.empty());
  {
    const std::lock_guard lock(bench.world.mutex);
    bench.world.visible = true;
  }
  REQUIRE(bench.turn_until([&] { return bench.all_done(); }));
  CHECK(bench.target.box.copied.size() == 50);
}

TEST_CASE("Backfill: a row that does not fit pauses its job and leaves the stream alone") {
  Bench bench({{"a", 10}});
  bench.target.box.write_fails = Error(ErrorCode::bad_data, "table public.a, key 3: too long");
  REQUIRE(bench.attach());
  REQUIRE(bench.turn_until([&] { return bench.target.box.kept[0].state == JobState::paused; }));
  CHECK(bench.target.box.kept[0].why.find("key 3") != std::string::npos);
  CHECK(bench.backfill->open());
  bench.target.box.kept[0].state = JobState::running;  // resume
  CHECK(bench.turn_until([&] { return bench.all_done(); }));
}

TEST_CASE("Backfill: what is paused or cancelled by others is noticed") {
  Bench bench({{"a", 10}});
  bench.world.sql_answer = "busy";
  bench.options.throttle.sql = "select 1";
  bench.options.throttle.every = Millis(1);
  REQUIRE(bench.attach());
  REQUIRE(bench.turn_until([&] { return bench.backfill->progress().state == "throttled"; }));
  CHECK(bench.backfill->progress().why == "busy");
  bench.target.box.kept[0].state = JobState::paused;
  REQUIRE(bench.turn_until([&] { return bench.backfill->progress().state == "paused"; }));
  bench.target.box.kept[0].state = JobState::cancelled;
  REQUIRE(bench.turn_until([&] { return !bench.backfill->open(); }));
  CHECK(bench.target.box.watched.empty());
}

TEST_CASE("Backfill: rows that nobody copied are refused, and nothing is changed") {
  Bench bench({{"a", 10}, {"b", 10}});
  bench.target.box.filled = {"public.b"};
  const auto refused = bench.attach();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::refused);
  CHECK(refused.error().message().find("public.b") != std::string::npos);
  CHECK(bench.target.box.kept.empty());
  bench.options.on_existing = OnExisting::keep;
  bench.backfill.reset();
  REQUIRE(bench.attach());
  CHECK(bench.target.box.kept.size() == 2);
}

TEST_CASE("Backfill: a pipeline that runs already copies only what is new to it") {
  Bench bench({{"a", 10}});
  REQUIRE(bench.attach(false));
  CHECK(bench.target.box.kept.empty());
  REQUIRE(bench.attach(true));
  REQUIRE(bench.target.box.kept.size() == 1);
  bench.options.tables.push_back(test::numbered_table("b"));
  bench.options.tables.push_back(test::numbered_table("log", false));
  bench.world.rows["public.b"] = 3;
  bench.backfill.reset();
  REQUIRE(bench.attach(false));
  REQUIRE(bench.target.box.kept.size() == 2);
  CHECK(bench.target.box.kept[1].table == "public.b");
  CHECK(bench.target.box.kept[1].kind == sink::JobKind::again);
  CHECK(bench.turn_until([&] { return bench.all_done(); }));
}

}  // namespace millrace::chunk
