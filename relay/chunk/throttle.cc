#include "relay/chunk/throttle.h"

#include <fmt/format.h>

namespace millrace::chunk {
namespace {

double seconds(Millis time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

std::string Throttle::reason(JobSource& source) {
  if (const SteadyTime now = clock_.now(); now >= next_look_) {
    reason_ = look(source);
    next_look_ = now + options_.every;
  }
  return reason_;
}

std::string Throttle::look(JobSource& source) const {
  if (options_.target_lag > Millis(0) && options_.target_lag_s) {
    const auto lag = options_.target_lag_s();
    if (lag && *lag > seconds(options_.target_lag)) {
      return fmt::format("the target is {:.1f} s behind (backfill.throttle.target_lag: {:.0f} s)",
                         *lag, seconds(options_.target_lag));
    }
  }
  if (options_.retained_wal > 0 && options_.retained_wal_bytes) {
    const auto bytes = options_.retained_wal_bytes();
    if (bytes && *bytes > options_.retained_wal) {
      return fmt::format("the slot holds back {} MB of WAL (backfill.throttle.retained_wal: {} MB)",
                         *bytes >> 20, options_.retained_wal >> 20);
    }
  }
  if (options_.replica_lag > Millis(0)) {
    const auto lag = source.replica_lag_s();
    if (!lag) return lag.error().describe();
    if (*lag && **lag > seconds(options_.replica_lag)) {
      return fmt::format(
          "a replica of the source is {:.1f} s behind (backfill.throttle.replica_lag: {:.0f} s)",
          **lag, seconds(options_.replica_lag));
    }
  }
  if (options_.check) {
    std::string reason = options_.check();
    if (!reason.empty()) return reason;
  }
  if (options_.sql.empty()) return {};
  const auto answer = source.ask(options_.sql);
  return answer ? *answer : answer.error().describe();
}

}  // namespace millrace::chunk
