// Backoff: doubling waits with jitter, bounded, for what may pass by itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>

#include "relay/base/clock.h"

namespace millrace {

class Backoff {
 public:
  explicit Backoff(Millis first = Millis(50), Millis most = Millis(5000), uint64_t seed = 1)
      : first_(first), most_(most), next_(first), state_(seed | 1) {}

  // The next wait: between half and the whole of a doubling bound.
  Millis next();
  void reset() { next_ = first_; }

 private:
  Millis first_;
  Millis most_;
  Millis next_;
  uint64_t state_;
};

// Sleeps for `wait`; false when `stop` was requested before the end.
bool sleep_for(std::stop_token stop, Millis wait);

}  // namespace millrace
