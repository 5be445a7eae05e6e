// StatusSnapshot: what a pipeline knows about itself at one moment, as plain data.
//
// `millrace status` and GET /api/v1/status show exactly this; relay/admin/status_json.h has the
// keys. Unknown is nullopt, and never shown as zero.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "relay/base/ids.h"

namespace millrace::pipeline {

// Worst last. `stopped`: needs a hand, tried again every few seconds. `blocked`: may pass by
// itself.
enum class HealthState { ok, catching_up, throttled, blocked, stopped };

std::string_view to_string(HealthState state);
std::optional<HealthState> parse_health(std::string_view text);

struct Health {
  HealthState state = HealthState::ok;
  std::string why;  // empty when ok, unless rows are parked
  bool operator==(const Health&) const = default;
};

// How far one stage has come.
struct StagePosition {
  Lsn lsn;               // end_lsn of its watermark
  std::string position;  // of the last transaction contained, "1:16/B374D848"; empty for none
  TimeMicros at;         // commit time of that transaction, by the source's clock; 0 for none
  bool operator==(const StagePosition&) const = default;
};

struct Positions {
  std::optional<StagePosition> received;
  std::optional<StagePosition> published;
  std::optional<StagePosition> acknowledged;
  std::optional<StagePosition> applied;
  bool operator==(const Positions&) const = default;
};

// How far the target is behind the source's flushed WAL: 0 when idle, growing when stuck.
struct Lag {
  std::optional<uint64_t> bytes;
  std::optional<double> seconds;
  bool operator==(const Lag&) const = default;
};

struct SlotStatus {
  std::string name;
  bool active = false;
  std::optional<uint64_t> retained_wal_bytes;
  uint64_t max_retained_wal_bytes = 0;
  std::string wal_status;  // reserved | extended | unreserved | lost; empty: unknown
  bool operator==(const SlotStatus&) const = default;
};

// Over the last ten seconds.
struct Rates {
  double published_rows_per_s = 0;
  double applied_rows_per_s = 0;
  double applied_transactions_per_s = 0;
  double applied_bytes_per_s = 0;
  bool operator==(const Rates&) const = default;
};

// Since this process started.
struct Totals {
  uint64_t published_rows = 0;
  uint64_t published_transactions = 0;
  uint64_t published_groups = 0;
  uint64_t applied_rows = 0;
  uint64_t applied_transactions = 0;
  uint64_t applied_bytes = 0;
  uint64_t applied_groups = 0;
  uint64_t retries = 0;
  bool operator==(const Totals&) const = default;
};

struct BackfillStatus {
  std::string state = "none";  // none | waiting | running | paused | throttled | done
  std::string table;
  std::optional<double> percent;
  std::optional<double> rows_per_s;
  std::optional<double> eta_s;
  std::string why;
  bool operator==(const BackfillStatus&) const = default;
};

// The last proof of one table (or invariant) and kind that the target keeps.
struct ProofStatus {
  std::string table;  // of the source, or the invariant's name
  std::string kind, verdict, why;
  std::string position;  // "1:16/B374D848"
  TimeMicros at;         // its end
  double age_s = 0;
  uint64_t compared = 0, differences = 0, unresolved = 0;
  bool operator==(const ProofStatus&) const = default;
};

struct VerifyStatus {
  std::string state = "none";  // none: nothing is scheduled | waiting | running
  std::string entry;           // of verify.schedule, when one runs
  std::string why;             // why the last one could not be begun or ended
  struct Next {
    std::string entry;
    TimeMicros due;  // in the past: it waits for the one that runs; 0: not known yet
    bool operator==(const Next&) const = default;
  };
  std::vector<ProofStatus> proofs;
  std::vector<Next> next = {};  // the entries that do not run, by their time
  bool operator==(const VerifyStatus&) const = default;
};

struct LastError {
  std::string message;
  std::string code;  // to_string(ErrorCode)
  double age_s = 0;
  bool operator==(const LastError&) const = default;
};

struct StatusSnapshot {
  std::string pipeline;
  std::string role;     // all | capture | apply; empty when no process answered
  bool running = true;  // false: put together by `millrace status` from source and target
  double uptime_s = 0;
  Health health;
  Positions positions;
  Lag lag;
  std::optional<SlotStatus> slot;
  Rates rates;
  Totals totals;
  uint64_t memory_bytes = 0;  // resident set of the process
  uint64_t parked = 0;
  BackfillStatus backfill;
  VerifyStatus verify;
  std::optional<LastError> last_error;
  bool operator==(const StatusSnapshot&) const = default;
};

}  // namespace millrace::pipeline
