// StatusBoard: where the stages post what they know and the admin port reads one consistent
// picture.
//
// Invariant: totals only grow; a snapshot is taken under one lock, so its numbers belong together.
// Thread-safe; every call is short (no I/O but reading /proc/self/statm in snapshot()).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "relay/base/clock.h"
#include "relay/base/error.h"
#include "relay/base/ids.h"
#include "relay/pipeline/status.h"

namespace millrace::pipeline {

class StatusBoard {
 public:
  // `clock` must outlive the board.
  StatusBoard(std::string pipeline, std::string role, const Clock& clock = system_clock());

  // Stage watermarks. received: decoded; published: manifest durable; acknowledged: told to the
  // slot.
  void received(const Watermark& at);
  void published(const Watermark& at);
  void acknowledged(const Watermark& at);
  void applied(const Watermark& at);

  // One commit group went out, or in.
  void count_published(uint64_t rows, uint64_t transactions);
  void count_applied(uint64_t rows, uint64_t transactions, uint64_t bytes);
  void count_retry();

  // The end of the source's flushed WAL (keepalive or query): lag is counted from here.
  void source_end(Lsn flushed);
  void slot(const SlotStatus& status);
  void backfill(const BackfillStatus& status);
  void verify(const VerifyStatus& status);
  void parked(uint64_t rows);

  // A stage ("capture", "apply") that can not go on right now; `why` is shown. stopped for what
  // needs a hand, blocked for what may pass by itself, throttled for what holds it back on purpose.
  // A stage has one state at a time; running() ends it, and says whether it was failing. With
  // several stages the worst one is shown.
  void failing(std::string_view stage, HealthState state, std::string why);
  bool running(std::string_view stage);
  // Remembered as last_error whatever happens next.
  void error(const Error& error);

  StatusSnapshot snapshot() const;

 private:
  static constexpr size_t kSeconds = 11;  // ten whole seconds and the one that runs
  struct Second {
    int64_t at = -1;  // steady seconds
    uint64_t published_rows = 0, applied_rows = 0, applied_transactions = 0, applied_bytes = 0;
  };
  // A point that the target has not reached yet, and when it was first seen.
  struct Mark {
    Lsn lsn;
    SteadyTime seen;
  };
  struct Pending {
    Lsn end;
    TimeMicros commit_time;
  };

  Second& this_second();
  void set_stage(std::string_view stage, Health health);
  // All WAL before it is known to be in `moved_`.
  std::optional<Lsn> reached_locked() const;
  void note_reached();
  Rates rates_locked() const;
  Lag lag_locked() const;
  Health health_locked(const Lag& lag) const;

  const Clock& clock_;
  const SteadyTime started_;
  mutable std::mutex mutex_;
  StatusSnapshot state_;
  std::optional<Watermark> received_;
  std::optional<Watermark> moved_;  // applied, or published where this process applies nothing
  std::optional<Mark> newest_;      // the source's flushed end
  std::optional<Mark> oldest_;      // the oldest such end that was not reached yet
  std::deque<Pending> pending_;     // published and not yet applied; thinned when long
  std::array<Second, kSeconds> seconds_{};
  std::map<std::string, Health, std::less<>> stages_;
  SteadyTime last_error_at_{};
};

// Resident set size of this process in bytes; 0 where /proc is missing.
uint64_t resident_bytes();

}  // namespace millrace::pipeline
