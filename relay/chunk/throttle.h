// Throttle: why a copy is to hold back now.
//
// Limits of 0, and an empty query, are off. What can not be asked (a lost connection, a query that
// fails) holds back too: it says nothing about the load. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "relay/base/clock.h"
#include "relay/chunk/job_source.h"

namespace millrace::chunk {

struct ThrottleOptions {
  Millis target_lag{0};
  uint64_t retained_wal = 0;  // bytes
  Millis replica_lag{0};
  std::string sql;  // asked at the source: true, a number above 0, or a text, which is the reason
  // Asked beside it; the reason, empty: go on. Any thread, and it does not wait.
  std::function<std::string()> check;
  // What the process knows; nullopt: not known, which is no reason.
  std::function<std::optional<double>()> target_lag_s;
  std::function<std::optional<uint64_t>()> retained_wal_bytes;
  Millis every{1000};
};

class Throttle {
 public:
  Throttle(const ThrottleOptions& options, const Clock& clock) : options_(options), clock_(clock) {}

  // The reason, as it was at most `every` ago; empty: go on.
  std::string reason(JobSource& source);

 private:
  std::string look(JobSource& source) const;

  const ThrottleOptions& options_;
  const Clock& clock_;
  SteadyTime next_look_;
  std::string reason_;
};

}  // namespace millrace::chunk
