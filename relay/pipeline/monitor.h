// Monitor: looks at the source beside the stream every few seconds, on a connection of its own.
//
// Posts the slot's row to the status board, acts when retained WAL passes its limit, and comes to a
// verdict that ends the stream: the slot is lost, or the publication (or a table of it) is gone,
// which Postgres does not tell a stream whose changes it then leaves out. Own thread; failures of
// its connection are logged once and tried again.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/pipeline/shared.h"
#include "relay/pipeline/source_guard.h"
#include "relay/pipeline/status_board.h"
#include "relay/source/catalog.h"
#include "relay/source/options.h"

namespace millrace::pipeline {

struct MonitorOptions {
  source::Options source;
  RetainedWalLimit retained;
  std::vector<source::TableName> tables;  // that the stream carries
  Millis interval{5000};
};

class Monitor {
 public:
  Monitor(MonitorOptions options, Shared& shared, StatusBoard& board);

  // Why the stream can not go on; nullopt: it can.
  std::optional<Error> verdict() const;
  // on_retained_wal: drop_slot, and more is retained: the stages are to be ended, and then
  // drop_slot() called, which returns the verdict.
  bool wants_slot_dropped() const;
  Error drop_slot();

 private:
  void run(std::stop_token stop);
  Status look(source::Catalog& catalog);
  void look_at_slot(const source::SlotInfo& slot);
  void set_verdict(Error error);

  MonitorOptions options_;
  Shared& shared_;
  StatusBoard& board_;
  mutable std::mutex mutex_;
  std::optional<Error> verdict_;
  std::optional<source::SlotInfo> unwanted_;  // the slot that is to be dropped
  bool warned_ = false;                       // of too much WAL
  bool warned_unreserved_ = false;
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace millrace::pipeline
