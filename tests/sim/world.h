// World: time, chance and turns of one simulated history.
//
// Everything that happens is decided by one random sequence: who takes the next step, how long it
// takes, which call fails. Actors are fibers that run the relay's own code; each call of a fake
// (log, slot, target, clock) is a scheduling point, where the turn may go to somebody else, and
// where a process may die: then Crashed goes through the stack and nothing of the process runs any
// more but destructors. The same seed and profile give the same history, byte for byte.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "tests/sim/fiber.h"

namespace millrace::sim {

// xorshift128+: the same numbers everywhere.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t next();
  // 0 … n - 1. REQUIRES: n > 0
  uint64_t below(uint64_t n) { return next() % n; }
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  bool percent(unsigned p) { return below(100) < p; }
  bool per_mille(unsigned p) { return below(1000) < p; }

 private:
  uint64_t a_, b_;
};

// The process of the running actor has been killed. Thrown by scheduling points only.
struct Crashed {};

// What belongs to one process: it is killed and paused as a whole.
struct Process {
  std::string name;
  bool killed = false;
  SteadyTime paused_until{};
};

struct Actor {
  std::string name;
  std::shared_ptr<Process> process;
  std::unique_ptr<Fiber> fiber;
  SteadyTime wake{};
  const std::function<bool()>* ready = nullptr;
  unsigned weight = 1;  // how often it gets a turn
};

class World final : public Clock {
 public:
  World(uint64_t seed, bool tracing) : random(seed), tracing_(tracing) {}

  Random random;
  bool faults_on = false;                               // faults happen
  std::map<std::string, uint64_t, std::less<>> faults;  // how often which one did
  uint64_t steps = 0;

  // Clock.
  SteadyTime now() const override { return now_; }
  TimeMicros wall() const override;
  bool sleep_for(std::stop_token stop, Millis wait) const override;

  // For fakes, on an actor's stack (elsewhere these do nothing). Throws Crashed.
  void step();
  // Until `ready` says so or the time is over.
  void wait(Millis at_most, const std::function<bool()>& ready);
  // This call fails now, with `per_mille` of chance; counts it as `name`.
  bool fault(std::string_view name, unsigned per_mille);

  // For the scheduler.
  Actor& start(std::string name, std::shared_ptr<Process> process, std::function<void()> body);
  // One turn of some actor that can run; false when all of them wait or are paused.
  bool turn();
  // To the next moment at which somebody wakes up, at most `at_most` on.
  void pass_time(Millis at_most);
  // Ends every actor of a process on the spot.
  void kill(Process& process);
  bool running(const Process& process) const;
  const Actor* current() const { return current_; }

  // The first broken invariant ends the history.
  void violation(std::string_view invariant, const std::string& what);
  const std::string& violated() const { return violated_; }

  template <typename... Args>
  void trace(fmt::format_string<Args...> format, Args&&... args) {
    if (tracing_) add_trace(fmt::format(format, std::forward<Args>(args)...));
  }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  bool can_run(const Actor& actor) const;
  void resume(Actor& actor);
  void add_trace(const std::string& text);

  bool tracing_;
  SteadyTime now_{std::chrono::hours(1)};
  Actor* current_ = nullptr;
  std::vector<std::unique_ptr<Actor>> actors_;
  std::string violated_;
  std::vector<std::string> lines_;
};

// A call that the network lost.
tl::unexpected<Error> lost(std::string what);

}  // namespace millrace::sim
