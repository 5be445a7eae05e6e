#include "relay/base/backoff.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace millrace {

Millis Backoff::next() {
  state_ ^= state_ << 13;
  state_ ^= state_ >> 7;
  state_ ^= state_ << 17;
  const auto bound = next_;
  next_ = std::min(most_, next_ * 2);
  const auto half = bound / 2;
  const auto spread = static_cast<uint64_t>(std::max<int64_t>(1, half.count()));
  return half + Millis(static_cast<int64_t>(state_ % spread));
}

bool sleep_for(std::stop_token stop, Millis wait) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, wait, [] { return false; });
  return !stop.stop_requested();
}

}  // namespace millrace
