// Replication::Stream: what replication.h promises, over libpq. Private to this folder.
//
// replication.cc opens the connection and starts the stream, replication_receive.cc reads it,
// replication_acknowledge.cc answers.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "relay/source/connection.h"
#include "relay/source/replication.h"

namespace millrace::source {

struct FreeCopyData {
  void operator()(char* data) const;
};

inline SteadyTime steady_now() { return std::chrono::steady_clock::now(); }

inline Millis until(SteadyTime deadline) {
  return std::max(Millis(0), std::chrono::ceil<Millis>(deadline - steady_now()));
}

// A WAL position that only rises.
class RisingLsn {
 public:
  void raise_to(Lsn lsn) {
    uint64_t seen = value_.load(std::memory_order_relaxed);
    while (seen < lsn.value && !value_.compare_exchange_weak(seen, lsn.value)) {
    }
  }
  Lsn get() const { return Lsn{value_.load()}; }

 private:
  std::atomic<uint64_t> value_{0};
};

// connection_mutex_ guards the PGconn and what libpq's callbacks touch; it is held for calls that
// do not wait only. state_mutex_ guards the feedback thread's orders. Neither is taken inside the
// other.
class Replication::Stream {
 public:
  explicit Stream(Options options);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Status connect();
  Result<Identity> identify();
  Result<Lsn> create_slot(bool temporary);
  Status start(Lsn from);
  Result<std::optional<Frame>> next(Millis wait);
  void set_flushed(Lsn lsn);
  void request_keepalive();
  void interrupt();
  Status failure();
  void stop();

  bool slot_is_busy = false;

 private:
  Result<ResultHandle> command(std::string_view doing, const std::string& sql,
                               std::string* sqlstate = nullptr, bool waits = false);
  Result<ResultHandle> await_result(std::string_view doing, std::optional<SteadyTime> deadline);
  Status read_sender_timeout();
  Error start_error(Error error, const std::string& sqlstate) const;

  Result<std::optional<Frame>> read_now();
  Result<std::optional<Frame>> take_frame(std::string_view bytes);
  Error stream_ended();
  Status wait_for_input(Millis wait);
  Status note_silence(Millis waited);

  void feedback(std::stop_token stop);
  bool wait_for_orders(std::stop_token stop, SteadyTime last_sent, bool& ask);
  Status send_status(bool ask);
  bool flush_output(SteadyTime deadline);
  void end_feedback();
  void wake() const;
  static void on_notice(void* self, const pg_result* notice);

  Options options_;
  Redactor redactor_;
  ConnectionHandle handle_;
  int version_ = 0;
  int wake_;  // an eventfd: interrupt() and the feedback thread's failure
  bool streaming_ = false;
  Millis interval_{2000};
  std::unique_ptr<char, FreeCopyData> frame_;
  Millis silence_{0};
  bool asked_in_silence_ = false;

  std::mutex connection_mutex_;
  std::optional<Error> fatal_notice_;

  std::atomic<bool> interrupted_{false};
  RisingLsn flushed_;
  RisingLsn received_;  // the highest WAL position that the server has spoken of

  std::mutex state_mutex_;
  std::condition_variable_any orders_;
  bool reply_wanted_ = false;
  bool ask_wanted_ = false;
  bool flush_moved_ = false;
  std::optional<Error> feedback_error_;
  std::jthread feedback_thread_;
};

}  // namespace millrace::source
