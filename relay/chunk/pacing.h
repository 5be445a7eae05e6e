// Pacing: how many rows the next chunk has, so that reading and writing it take about a given time.
//
// Invariant: at least one row, 100 where they fit the byte limit; at most twice the rows of the
// chunk before, and no more than fit the byte limit by the widths seen so far (one chunk may pass
// it, which its reader cuts off). Thread-safe: a reader asks and tells, the applier tells.
#pragma once

#include <cstdint>
#include <mutex>

#include "relay/base/clock.h"

namespace millrace::chunk {

class Pacing {
 public:
  Pacing(Millis chunk_time, uint64_t chunk_bytes);

  uint64_t next_rows() const;
  void read(uint64_t rows, uint64_t bytes, double seconds);
  void wrote(uint64_t rows, double seconds);

 private:
  const double chunk_seconds_;
  const double chunk_bytes_;
  mutable std::mutex mutex_;
  uint64_t last_rows_ = 0;
  double bytes_a_row_ = 0;  // 0: not known yet
  double read_a_row_ = 0;   // seconds
  double write_a_row_ = 0;
};

}  // namespace millrace::chunk
