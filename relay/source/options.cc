#include "relay/source/options.h"

#include <algorithm>

namespace millrace::source {

Millis feedback_interval(Millis status_interval, Millis wal_sender_timeout) {
  Millis interval = status_interval;
  if (wal_sender_timeout > Millis(0)) interval = std::min(interval, wal_sender_timeout / 3);
  return std::max(interval, Millis(10));
}

}  // namespace millrace::source
