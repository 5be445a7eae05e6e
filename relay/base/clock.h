// Clock: time as a dependency, so that tests own it. Steady time for waits, wall time for display.
#pragma once

#include <chrono>
#include <stop_token>

#include "relay/base/ids.h"

namespace millrace {

using SteadyTime = std::chrono::steady_clock::time_point;
using Millis = std::chrono::milliseconds;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual SteadyTime now() const = 0;
  virtual TimeMicros wall() const = 0;
  // Waits on the calling thread; false when `stop` was requested before the end.
  virtual bool sleep_for(std::stop_token stop, Millis wait) const;
};

const Clock& system_clock();

}  // namespace millrace
