#include "tests/sim/world.h"

#include <algorithm>

namespace millrace::sim {
namespace {

constexpr unsigned kSwitchPercent = 35;  // a scheduling point gives the turn away this often
constexpr int64_t kWallOrigin = 1'700'000'000'000'000;

uint64_t split_mix(uint64_t& state) {
  uint64_t z = (state += 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

}  // namespace

Random::Random(uint64_t seed) {
  a_ = split_mix(seed);
  b_ = split_mix(seed) | 1;
}

uint64_t Random::next() {
  uint64_t x = a_;
  const uint64_t y = b_;
  a_ = y;
  x ^= x << 23;
  b_ = x ^ y ^ (x >> 17) ^ (y >> 26);
  return (b_ + y) >> 11;
}

TimeMicros World::wall() const {
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch());
  return {kWallOrigin + since.count()};
}

bool World::sleep_for(std::stop_token stop, Millis wait) const {
  // Sleeping moves the world on; Clock's callers know nothing of that.
  const_cast<World*>(this)->wait(wait, [&stop] { return stop.stop_requested(); });
  return !stop.stop_requested();
}

void World::step() {
  if (current_ == nullptr) return;
  now_ += std::chrono::microseconds(random.below(200));
  if (random.percent(kSwitchPercent)) current_->fiber->yield();
  if (current_->process->killed) throw Crashed();
}

void World::wait(Millis at_most, const std::function<bool()>& ready) {
  if (current_ == nullptr) return;
  Actor& self = *current_;
  self.wake = now_ + at_most;
  self.ready = &ready;
  self.fiber->yield();
  self.ready = nullptr;
  self.wake = {};
  if (self.process->killed) throw Crashed();
}

bool World::fault(std::string_view name, unsigned per_mille) {
  if (!faults_on || current_ == nullptr || !random.per_mille(per_mille)) return false;
  ++faults[std::string(name)];
  trace("fault: {}", name);
  return true;
}

Actor& World::start(std::string name, std::shared_ptr<Process> process,
                    std::function<void()> body) {
  auto actor = std::make_unique<Actor>();
  actor->name = std::move(name);
  actor->process = std::move(process);
  actor->weight = static_cast<unsigned>(random.between(1, 8));
  actor->fiber = std::make_unique<Fiber>([body = std::move(body)] {
    try {
      body();
    } catch (const Crashed&) {
    }
  });
  actors_.push_back(std::move(actor));
  return *actors_.back();
}

bool World::can_run(const Actor& actor) const {
  if (actor.process->paused_until > now_) return false;
  return actor.wake <= now_ || (actor.ready != nullptr && (*actor.ready)());
}

void World::resume(Actor& actor) {
  Actor* const before = current_;
  current_ = &actor;
  actor.fiber->resume();
  current_ = before;
  if (!actor.fiber->finished()) return;
  actors_.erase(std::find_if(actors_.begin(), actors_.end(),
                             [&](const auto& other) { return other.get() == &actor; }));
}

bool World::turn() {
  unsigned total = 0;
  std::vector<std::pair<Actor*, unsigned>> runnable;
  for (const auto& actor : actors_) {
    if (!can_run(*actor)) continue;
    total += actor->weight;
    runnable.emplace_back(actor.get(), total);
  }
  if (runnable.empty()) return false;
  ++steps;
  const uint64_t chosen = random.below(total);
  for (const auto& [actor, up_to] : runnable) {
    if (chosen >= up_to) continue;
    resume(*actor);
    break;
  }
  return true;
}

void World::pass_time(Millis at_most) {
  SteadyTime next = now_ + at_most;
  for (const auto& actor : actors_) {
    const SteadyTime wakes = std::max(actor->wake, actor->process->paused_until);
    if (wakes > now_) next = std::min(next, wakes);
  }
  now_ = next;
}

void World::kill(Process& process) {
  process.killed = true;
  while (true) {
    const auto found = std::find_if(actors_.begin(), actors_.end(), [&](const auto& actor) {
      return actor->process.get() == &process;
    });
    if (found == actors_.end()) return;
    Actor& actor = **found;
    actor.wake = {};
    resume(actor);
  }
}

bool World::running(const Process& process) const {
  return std::any_of(actors_.begin(), actors_.end(),
                     [&](const auto& actor) { return actor->process.get() == &process; });
}

void World::violation(std::string_view invariant, const std::string& what) {
  trace("VIOLATION of {}: {}", invariant, what);
  if (violated_.empty()) violated_ = std::string(invariant) + ": " + what;
}

void World::add_trace(const std::string& text) {
  const auto at = std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch());
  lines_.push_back(fmt::format("{:>12} {:<12} {}", at.count() - 3'600'000'000,
                               current_ ? current_->name : "-", text));
}

tl::unexpected<Error> lost(std::string what) { return fail(ErrorCode::retryable, std::move(what)); }

}  // namespace millrace::sim
