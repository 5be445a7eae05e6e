#include "relay/base/clock.h"

#include <utility>

#include "relay/base/backoff.h"

namespace millrace {
namespace {

class SystemClock final : public Clock {
 public:
  SteadyTime now() const override { return std::chrono::steady_clock::now(); }
  TimeMicros wall() const override {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return {std::chrono::duration_cast<std::chrono::microseconds>(since).count()};
  }
};

}  // namespace

bool Clock::sleep_for(std::stop_token stop, Millis wait) const {
  return millrace::sleep_for(std::move(stop), wait);
}

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

}  // namespace millrace
