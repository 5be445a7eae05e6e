// Signals: SIGTERM and SIGINT as a stop token; the second one ends the process at once. SIGHUP
// calls `on_hangup`, or does nothing.
//
// Made before any other thread, so that every thread has them blocked. One object a process.
#pragma once

#include <functional>
#include <stop_token>
#include <thread>

#include <signal.h>

namespace millrace::cli {

class Signals {
 public:
  // `announce`: a stop is logged. `on_hangup` runs on the thread that waits for signals.
  explicit Signals(bool announce = true, std::function<void()> on_hangup = {});
  ~Signals();
  std::stop_token stop_token() const { return stop_.get_token(); }

 private:
  void wait_for_signals();

  const bool announce_;
  const std::function<void()> on_hangup_;
  sigset_t set_;
  std::stop_source stop_;
  std::jthread thread_;
};

}  // namespace millrace::cli
