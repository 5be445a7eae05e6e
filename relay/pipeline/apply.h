// Apply: follows the manifest topic and brings each commit group to the target, exactly once in
// effect.
//
//   locate ──► follow ──► apply (begin, write*, commit) ──► follow …
//      ▲          │ retryable: back to locate after a wait; what the target says was applied counts
//      └──────────┘ bad_data: "stopped", tried again every few seconds (or the end, with
//      exit_on_stop)
//
// docs/model/applying.pml has the same steps: `locate`, `take_manifest`, `begin`, `write` and
// COMMIT, and after a lost reply `locate` again.
//
// Invariant: a group is applied when the target stands inside [previous, last) of its manifest; a
// target behind `previous` is a gap and refused. Several groups may share a target transaction;
// when one of them does not fit, those before it go first, and then the transactions before the one
// that does not. One
// thread (the one that calls run); interrupt() from any.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "relay/base/backoff.h"
#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/chunk/backfill.h"
#include "relay/event/change.h"
#include "relay/log/log.h"
#include "relay/pipeline/claim_tracker.h"
#include "relay/pipeline/group_reader.h"
#include "relay/pipeline/publisher.h"
#include "relay/pipeline/shared.h"
#include "relay/pipeline/status_board.h"
#include "relay/sink/parking.h"
#include "relay/sink/planner.h"
#include "relay/sink/target.h"
#include "relay/wire/row_codec.h"

namespace millrace::pipeline {

struct ApplyOptions {
  std::string pipeline;
  size_t group_rows = 10'000;  // rows in one target statement, and about those in one transaction
  size_t group_bytes = 8U << 20;
  // A busy stream waits this long between two transactions; while only a few rows have come, no
  // longer than the last transaction took.
  Millis group_wait{0};
  bool exit_on_stop = false;   // bad data ends run() with its error
  bool after_capture = false;  // apply nothing before this process has held the slot
  bool park = false;  // a row that the target rejects is parked; else it stops the pipeline
  uint64_t parked_max = 10'000;   // more of them stop it too
  std::optional<Lsn> goal;        // run() returns once the applied watermark has reached it
  std::function<bool()> may_end;  // asked at the goal; empty: yes
  Millis stopped_retry{3000};
  Millis applier_wait{30'000};          // for a target that another instance applies to
  chunk::Backfill* backfill = nullptr;  // borrowed; has its turns between two transactions
  Millis head_start{0};  // of the first copy: so long a stream that has applied nothing waits
  // Called after each commit, with the last manifest of the transaction.
  std::function<void(const sink::Applied&, const Manifest&)> on_applied;
};

class Apply {
 public:
  Apply(log::Log& log, sink::Target& target, const Clock& clock, ApplyOptions options,
        Shared& shared, StatusBoard& board);

  // Returns when stopped or at the goal. Errors: refused, corruption, fatal; bad_data with
  // exit_on_stop.
  Status run(std::stop_token stop);
  // Ends a running statement, so that a stop need not wait for it.
  void interrupt();

 private:
  Status attempt(std::stop_token stop);
  void interrupt_reader();
  Status take_target(std::stop_token stop);
  Status check_not_overtaken(const std::optional<sink::Applied>& found) const;
  Status locate(std::stop_token stop);
  Status locate_origin(std::stop_token stop);
  // Reads entries into pending_ until a group's worth is there or nothing more has arrived.
  Status follow();
  // Until when what is pending waits for more to share a transaction with.
  SteadyTime shares_until() const;
  Status take_manifest(LogOffset offset, Manifest manifest);
  Status apply_pending();
  Status write_pending(const sink::Applied& next);
  Status begin_transaction(const sink::Applied& next);
  Status write_batch();
  Status commit_transaction(const sink::Applied& next, uint64_t transactions);
  Status load_parked();
  // After a commit: what it has parked is logged and shown.
  void tell_parked();
  Status load_shapes();
  // After bad data: takes less at once, so that what lies before it is applied. False: it can not.
  bool narrow();
  Status apply_one_by_one();
  bool goal_reached() const;
  Status begin_backfill(std::stop_token stop);
  // One chunk at most, of what was there before the stream.
  Status give_turn(bool busy);
  Millis idle_wait() const;
  Status turn_alone(const std::stop_token& stop);
  Status copy_while_stopped(const std::stop_token& stop);
  Status copy_first(const std::stop_token& stop);

  log::Log& log_;
  sink::Target& target_;
  const Clock& clock_;
  ApplyOptions options_;
  Shared& shared_;
  StatusBoard& board_;

  std::mutex reader_mutex_;  // guards the pointer against interrupt()
  std::shared_ptr<log::Reader> reader_;
  SchemaCache schemas_;
  ClaimTracker claims_;
  sink::Applied applied_;  // as the target has it
  Watermark own_reach_;    // the furthest that a transaction of ours may have brought the target
  Watermark reach_;        // … and with pending_ applied
  std::vector<Published> pending_;
  uint64_t pending_rows_ = 0;
  Lsn alone_until_;       // groups up to here are applied one by one: one of them does not fit
  LogOffset split_ = -1;  // the manifest whose transactions are applied one by one
  bool rows_do_not_fit_ = false;                  // what ended the last attempt
  bool copies_first_ = false;                     // the next one begins with chunks
  std::optional<SteadyTime> stream_waits_until_;  // for the first copy
  SteadyTime last_commit_;
  SteadyTime::duration last_took_{};  // the last transaction, from reading its rows to its commit
  ChangeBatch batch_;
  sink::Planner planner_;
  wire::RowStamp stamp_;  // of letters
  std::optional<sink::Parking> parking_;
  SteadyTime parked_looked_at_;
  SteadyTime told_parked_at_;  // on the log
  uint64_t untold_failed_ = 0;
  uint64_t untold_behind_ = 0;
  uint64_t applied_rows_ = 0;  // of the transaction being written
  uint64_t applied_bytes_ = 0;
  SteadyTime told_backfill_at_;  // on the board
  Backoff backoff_;
};

}  // namespace millrace::pipeline
