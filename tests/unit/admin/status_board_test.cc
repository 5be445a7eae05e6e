#include "relay/pipeline/status_board.h"

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::pipeline;

namespace {

class ManualClock : public Clock {
 public:
  SteadyTime now() const override { return now_; }
  TimeMicros wall() const override {
    return {std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch()).count()};
  }
  void pass(Millis time) { now_ += time; }

 private:
  SteadyTime now_{std::chrono::hours(1000)};
};

Watermark mark(uint64_t end, uint64_t commit, TimeMicros at = {}) {
  return {1, Lsn{end}, Lsn{commit}, at};
}

}  // namespace

TEST_CASE("StatusBoard: lag is unknown until a position is known") {
  const ManualClock clock;
  StatusBoard board("shop", "all", clock);
  board.source_end(Lsn{100});
  CHECK_FALSE(board.snapshot().lag.bytes.has_value());
  CHECK_FALSE(board.snapshot().lag.seconds.has_value());
}

TEST_CASE("StatusBoard: lag grows while the target is stuck, and is gone when it is level") {
  ManualClock clock;
  StatusBoard board("shop", "all", clock);
  board.applied(mark(100, 90));
  board.source_end(Lsn{100});
  CHECK(board.snapshot().lag == Lag{0, 0.0});
  board.received(mark(200, 190));
  board.source_end(Lsn{200});
  clock.pass(Millis(4000));
  board.source_end(Lsn{300});
  CHECK(board.snapshot().lag == Lag{200, 4.0});
  CHECK(board.snapshot().health.state == HealthState::catching_up);
  clock.pass(Millis(1000));
  CHECK(board.snapshot().lag.seconds == 5.0);
  board.applied(mark(200, 190));  // the first mark is reached, the second was seen a second ago
  board.received(mark(300, 290));
  CHECK(board.snapshot().lag == Lag{100, 1.0});
  board.applied(mark(300, 290));
  CHECK(board.snapshot().lag == Lag{0, 0.0});
}

TEST_CASE("StatusBoard: a slot that may be lost is told, behind what is worse") {
  ManualClock clock;
  StatusBoard board("shop", "all", clock);
  board.applied(mark(100, 90));
  board.source_end(Lsn{100});
  SlotStatus slot;
  slot.name = "millrace_shop";
  slot.wal_status = "extended";
  board.slot(slot);
  CHECK(board.snapshot().health == Health{});
  slot.wal_status = "unreserved";
  board.slot(slot);
  CHECK(board.snapshot().health.state == HealthState::catching_up);
  CHECK(board.snapshot().health.why.find("millrace_shop may be lost") != std::string::npos);
  board.failing("apply", HealthState::blocked, "no target");
  CHECK(board.snapshot().health.why == "apply: no target");
}

TEST_CASE("StatusBoard: under steady load the lag does not add up") {
  ManualClock clock;
  StatusBoard board("shop", "all", clock);
  for (uint64_t at = 100; at < 100'000; at += 100) {
    board.received(mark(at, at - 10));
    board.source_end(Lsn{at});
    clock.pass(Millis(50));
    if (at >= 300) board.applied(mark(at - 200, at - 210));
  }
  CHECK(*board.snapshot().lag.seconds < 0.3);
  CHECK(board.snapshot().health.state == HealthState::ok);
}

TEST_CASE("StatusBoard: an idle stream has no lag, whatever foreign WAL passes") {
  ManualClock clock;
  StatusBoard board("shop", "all", clock);
  board.received(mark(100, 90));
  board.applied(mark(100, 90));
  for (uint64_t end = 200; end < 2000; end += 100) {
    board.source_end(Lsn{end});
    clock.pass(Millis(10000));
    board.received(mark(end, 90));  // a keepalive: nothing of ours before `end`
  }
  CHECK(board.snapshot().lag == Lag{0, 0.0});
  CHECK(board.snapshot().health.state == HealthState::ok);
}

TEST_CASE("StatusBoard: a backlog in the log counts from its commit time") {
  ManualClock clock;
  StatusBoard board("shop", "all", clock);
  board.applied(mark(100, 90));
  const TimeMicros hour_ago{clock.wall().value - 3'600'000'000};
  board.published(mark(200, 190, hour_ago));
  board.published(mark(300, 290, clock.wall()));
  CHECK(*board.snapshot().lag.seconds == doctest::Approx(3600));
  board.applied(mark(200, 190));
  CHECK(*board.snapshot().lag.seconds < 1);
}

TEST_CASE("StatusBoard: a long backlog keeps its oldest mark in bounded memory") {
  ManualClock clock;
  StatusBoard board("shop", "all", clock);
  board.applied(mark(1, 1));
  const TimeMicros first = clock.wall();
  for (uint64_t at = 10; at < 100'000; ++at) board.published(mark(at, at, first));
  clock.pass(Millis(60000));
  CHECK(*board.snapshot().lag.seconds == doctest::Approx(60));
}

TEST_CASE("StatusBoard: capture alone lags behind what it publishes") {
  ManualClock clock;
  StatusBoard board("shop", "capture", clock);
  board.source_end(Lsn{200});
  board.published(mark(100, 90, clock.wall()));
  CHECK(board.snapshot().lag.bytes == 100);
  board.published(mark(200, 190, clock.wall()));
  CHECK(board.snapshot().lag == Lag{0, 0.0});
}

TEST_CASE("StatusBoard: the worst stage is shown, until it runs again") {
  StatusBoard board("shop", "all");
  board.failing("capture", HealthState::blocked, "connection refused");
  board.failing("apply", HealthState::stopped, "table public.a");
  CHECK(board.snapshot().health == Health{HealthState::stopped, "apply: table public.a"});
  board.running("apply");
  CHECK(board.snapshot().health == Health{HealthState::blocked, "capture: connection refused"});
  board.running("capture");
  CHECK(board.snapshot().health == Health{});
}

TEST_CASE("StatusBoard: rates are of the last ten seconds, totals of all") {
  ManualClock clock;
  StatusBoard board("shop", "all", clock);
  for (int i = 0; i < 30; ++i) {
    board.count_applied(100, 10, 1000);
    clock.pass(Millis(1000));
  }
  CHECK(board.snapshot().rates.applied_rows_per_s == doctest::Approx(100));
  CHECK(board.snapshot().totals.applied_rows == 3000);
  clock.pass(Millis(11000));
  CHECK(board.snapshot().rates.applied_rows_per_s == 0);
}

TEST_CASE("StatusBoard: the last error grows old") {
  ManualClock clock;
  StatusBoard board("shop", "all", clock);
  CHECK_FALSE(board.snapshot().last_error.has_value());
  board.error(Error(ErrorCode::retryable, "connection refused", "start the server"));
  clock.pass(Millis(2500));
  const auto error = board.snapshot().last_error;
  REQUIRE(error.has_value());
  CHECK(error->message == "connection refused; start the server");
  CHECK(error->code == "retryable");
  CHECK(error->age_s == doctest::Approx(2.5));
}

TEST_CASE(
    "StatusBoard: parked changes are said beside a health that is well, not in place of another") {
  StatusBoard board("shop", "all");
  board.parked(3);
  CHECK(board.snapshot().health ==
        Health{HealthState::ok, "3 changes are parked (millrace letters list)"});
  board.failing("apply", HealthState::stopped, "table public.a");
  CHECK(board.snapshot().health == Health{HealthState::stopped, "apply: table public.a"});
  board.running("apply");
  board.parked(0);
  CHECK(board.snapshot().health == Health{});
}

TEST_CASE("resident_bytes: this process is in memory") { CHECK(resident_bytes() > 100'000); }
