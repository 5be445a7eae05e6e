// VerifySchedule: proves what `verify.schedule` names, each entry as often as it says, and with
// `backfill.on_existing: verify` each table once when the copies have ended, beside the stream; and
// shows the last proofs on the status board.
//
//   due ─► run_verify, as a command would ─► history in the target ─► board ─► wait for the next
//
// When a table was proven last stands in the target, so a restart neither repeats nor forgets.
// Invariant: it shares no connection and no lock with the stream; what it reads is bounded by
// verify.max_rate, it gives way to who waits for its locks, and a stop ends it. A failure is shown
// and tried again; it ends nothing. One entry at a time, on a thread of its own.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "connectors/postgres/proofs.h"
#include "relay/base/clock.h"
#include "relay/config/config.h"
#include "relay/pipeline/shared.h"
#include "relay/pipeline/status_board.h"

namespace millrace::cli {

struct VerifyArguments;
struct VerifyResult;

class VerifySchedule {
 public:
  // Works until `stop`, or its own end. All references outlive it.
  VerifySchedule(const config::Config& config, const pipeline::Shared& shared,
                 pipeline::StatusBoard& board, std::stop_token stop, bool until_caught_up);
  ~VerifySchedule();

  // For a process that ends when it has caught up; what it proves is `on_existing` alone. The
  // applier is at its goal and its copies have ended: is what they were to be compared for known?
  bool may_end();
  // Then: why the process ends with an error; negative: a difference.
  std::optional<Error> existing() const {
    return existing_proven_ ? existing_ : std::optional<Error>();
  }

 private:
  struct Entry {
    config::ScheduledProof what;
    std::string name;
    std::string who;    // in the history
    bool once = false;  // each table, when no copy is open; again by a restart where it differed
    bool known = false;
    std::map<std::string, TimeMicros> begun;  // by table or invariant
    TimeMicros due;
  };

  void run();
  Status prove(Entry& entry, const std::stop_token& stop);
  void plan_next(Entry& entry, const VerifyResult& result, TimeMicros began);
  VerifyArguments arguments(const Entry& entry, TimeMicros now) const;
  Entry* next_due();
  bool may_begin(Entry& entry) const;
  void end_once(const Status& proven);
  static std::vector<Entry> entries_of(const config::Config& config, bool until_caught_up);
  Status read_proofs();
  void show_proofs();
  void show(std::string state, std::string entry);

  std::stop_source own_stop_;
  const config::Config& config_;
  const pipeline::Shared& shared_;
  pipeline::StatusBoard& board_;
  postgres::Proofs proofs_;
  const bool until_caught_up_;
  std::atomic<bool> copies_have_ended_{false};
  std::optional<Error> existing_;  // before existing_proven_
  std::atomic<bool> existing_proven_{false};
  std::vector<Entry> entries_;
  pipeline::VerifyStatus status_;
  std::string history_error_;  // said once
  int64_t newest_ = -1;        // of the proofs that are shown
  std::stop_callback<std::function<void()>> on_stop_;
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace millrace::cli
