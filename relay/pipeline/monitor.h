// Monitor: looks at the source beside the stream every few seconds, on a connection of its own.
//
// Posts the slot's row and the end of WAL to the status board, warns when retained WAL passes its
// limit, and watches the publication: Postgres 18 goes on without a word when it is gone, and rows
// changed meanwhile are never delivered. Own thread; failures of its connection are logged once and
// tried again.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <thread>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/pipeline/status_board.h"
#include "relay/source/catalog.h"
#include "relay/source/options.h"

namespace millrace::pipeline {

struct MonitorOptions {
  source::Options source;
  uint64_t max_retained_wal_bytes = 0;
  Millis interval{5000};
};

class Monitor {
 public:
  Monitor(MonitorOptions options, StatusBoard& board);

  // True once the publication was seen to be missing.
  bool publication_is_missing() const { return publication_is_missing_; }

 private:
  void run(std::stop_token stop);
  Status look(source::Catalog& catalog);

  MonitorOptions options_;
  StatusBoard& board_;
  std::atomic<bool> publication_is_missing_{false};
  bool warned_ = false;
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace millrace::pipeline
