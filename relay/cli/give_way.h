// GiveWay: while it lives, a comparison that keeps another session of the target waiting is
// interrupted.
//
// The stream's TRUNCATE and new columns need a table for themselves, for an instant; they must not
// wait for the end of a long read. Own thread and connection; the session outlives it.
#pragma once

#include <atomic>
#include <thread>

#include "connectors/postgres/verify_session.h"

namespace millrace::cli {

class GiveWay {
 public:
  explicit GiveWay(postgres::VerifySession& session);

  // Stops watching. True: the session was interrupted.
  bool end();

 private:
  void run(std::stop_token stop);

  postgres::VerifySession& session_;
  std::atomic<bool> interrupted_{false};
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace millrace::cli
