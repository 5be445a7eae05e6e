#include "relay/chunk/throttle.h"

#include <doctest/doctest.h>

#include "tests/unit/chunk/fakes.h"

namespace millrace::chunk {
namespace {

class StandingClock final : public Clock {
 public:
  SteadyTime time{std::chrono::seconds(1000)};
  SteadyTime now() const override { return time; }
  TimeMicros wall() const override { return {}; }
};

}  // namespace

TEST_CASE("Throttle: names the limit that is passed, and looks once a while") {
  test::FakeWorld world;
  test::FakeSource source(world);
  StandingClock clock;
  std::optional<double> lag = 3.0;
  std::optional<uint64_t> wal;
  ThrottleOptions options;
  options.target_lag = Millis(5000);
  options.retained_wal = 10U << 20;
  options.target_lag_s = [&] { return lag; };
  options.retained_wal_bytes = [&] { return wal; };
  Throttle throttle(options, clock);
  CHECK(throttle.reason(source).empty());
  lag = 6.0;
  CHECK(throttle.reason(source).empty());
  clock.time += options.every;
  CHECK(throttle.reason(source) ==
        "the target is 6.0 s behind (backfill.throttle.target_lag: 5 s)");
  lag = std::nullopt;
  wal = 11U << 20;
  clock.time += options.every;
  CHECK(throttle.reason(source) ==
        "the slot holds back 11 MB of WAL (backfill.throttle.retained_wal: 10 MB)");
}

TEST_CASE("Throttle: a user's answer is the reason") {
  test::FakeWorld world;
  test::FakeSource source(world);
  StandingClock clock;
  ThrottleOptions options;
  Throttle off(options, clock);
  world.sql_answer = "the shop is busy";
  CHECK(off.reason(source).empty());
  options.sql = "select why";
  Throttle on(options, clock);
  CHECK(on.reason(source) == "the shop is busy");
}

TEST_CASE("Throttle: by the slowest replica; one that can not be asked holds too") {
  test::FakeWorld world;
  test::FakeSource source(world);
  StandingClock clock;
  ThrottleOptions options;
  Throttle off(options, clock);
  world.replica_lag_s = 4.0;
  CHECK(off.reason(source).empty());
  options.replica_lag = Millis(3000);
  Throttle on(options, clock);
  CHECK(on.reason(source) ==
        "a replica of the source is 4.0 s behind (backfill.throttle.replica_lag: 3 s)");
  world.replica_lag_s = 3.0;
  clock.time += options.every;
  CHECK(on.reason(source).empty());
  world.fails = Error(ErrorCode::retryable, "the connection is lost");
  clock.time += options.every;
  CHECK(on.reason(source) == "the connection is lost");
  world.replica_lag_s = std::nullopt;
  clock.time += options.every;
  CHECK(on.reason(source).empty());
}

TEST_CASE("Throttle: what a check beside it says holds, and then the query is asked") {
  test::FakeWorld world;
  test::FakeSource source(world);
  StandingClock clock;
  std::string says = "it says 429";
  ThrottleOptions options;
  options.check = [&] { return says; };
  options.sql = "select why";
  world.sql_answer = "the shop is busy";
  Throttle throttle(options, clock);
  CHECK(throttle.reason(source) == "it says 429");
  says.clear();
  clock.time += options.every;
  CHECK(throttle.reason(source) == "the shop is busy");
}

}  // namespace millrace::chunk
