// A snapshot with every member set, for the tests of what shows it.
#pragma once

#include "relay/pipeline/status.h"

namespace millrace::pipeline {

inline StatusSnapshot sample_status() {
  StatusSnapshot out;
  out.pipeline = "shop";
  out.role = "all";
  out.uptime_s = 12.5;
  out.health = {HealthState::blocked, "apply: connection refused"};
  const TimeMicros at{1763632800123456};
  out.positions.received = StagePosition{Lsn{0x1600000040}, "1:16/20", at};
  out.positions.published = StagePosition{Lsn{0x1600000030}, "1:16/18", at};
  out.positions.acknowledged = StagePosition{Lsn{0x1600000020}, "", {}};
  out.positions.applied = StagePosition{Lsn{0x1600000010}, "1:16/8", at};
  out.lag = {48, 1.25};
  out.slot = SlotStatus{"millrace_shop", true, 1234, 4096, "reserved"};
  out.rates = {1, 2, 3, 4};
  out.totals = {1, 2, 3, 4, 5, 6, 7, 8};
  out.memory_bytes = 9 << 20;
  out.parked = 10;
  out.backfill = {"running", "public.a", 12.5, 100.0, 60.0, ""};
  out.verify = {"running",
                "rows every 1h",
                "",
                {{"public.a", "rows", "different", "", "1:16/18", at, 60.5, 100, 2, 1}},
                {{"counts every 10m", at}}};
  out.last_error = LastError{"connection refused (target)", "retryable", 3.5};
  return out;
}

}  // namespace millrace::pipeline
