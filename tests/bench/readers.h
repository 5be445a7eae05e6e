// What the modes of bench_readers have in common. See readers.cc.
#pragma once

#include <string>

#include "relay/base/clock.h"
#include "relay/base/ids.h"
#include "relay/base/result.h"

namespace millrace::bench {

struct Job {
  std::string mode;
  std::string dsn;
  std::string slot;
  std::string publication;
  Lsn end;
  std::string log;  // embedded: its folder; kafka: the brokers
};

struct Tally {
  uint64_t rows = 0;
  uint64_t transactions = 0;
  uint64_t bytes = 0;
  SteadyTime began;
  SteadyTime first;
  SteadyTime last;
};

[[noreturn]] void give_up(const std::string& why);

inline void need(const Status& status) {
  if (!status) give_up(status.error().describe());
}

template <typename T>
T need(Result<T> result) {
  if (!result) give_up(result.error().describe());
  return std::move(*result);
}

// Capture over a log of its own, with nobody to apply it and nothing acknowledged.
void capture(const Job& job, Tally& tally);

}  // namespace millrace::bench
