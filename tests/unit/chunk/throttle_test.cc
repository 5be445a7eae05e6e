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

}  // namespace millrace::chunk
