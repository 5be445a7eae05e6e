// The part of Replication::Stream that answers: status updates by time and by order, and the end.
#include <algorithm>

#include <libpq-fe.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "relay/base/failpoint.h"
#include "relay/base/mutation.h"
#include "relay/source/replication_stream.h"
#include "relay/source/server_error.h"

namespace millrace::source {
namespace {

// At most one status update in this time because of set_flushed.
constexpr Millis kAcknowledgeGap{20};
constexpr Millis kStopTimeout{1000};

}  // namespace

void Replication::Stream::set_flushed(Lsn lsn) {
  flushed_.raise_to(lsn);
  const std::lock_guard lock(state_mutex_);
  flush_moved_ = true;
  orders_.notify_all();
}

void Replication::Stream::request_keepalive() {
  const std::lock_guard lock(state_mutex_);
  ask_wanted_ = true;
  orders_.notify_all();
}

Status Replication::Stream::failure() {
  const std::lock_guard lock(state_mutex_);
  if (feedback_error_) return fail(*feedback_error_);
  return {};
}

void Replication::Stream::interrupt() {
  interrupted_ = true;
  wake();
}

void Replication::Stream::wake() const { eventfd_write(wake_, 1); }

// Waits until an update is due or ordered; false when asked to stop.
bool Replication::Stream::wait_for_orders(std::stop_token stop, SteadyTime last_sent, bool& ask) {
  std::unique_lock lock(state_mutex_);
  const auto due = [&] {
    if (reply_wanted_ || ask_wanted_) return SteadyTime::min();
    return last_sent + (flush_moved_ ? std::min(kAcknowledgeGap, interval_) : interval_);
  };
  while (!stop.stop_requested()) {
    const SteadyTime at = due();
    if (at <= steady_now()) break;
    orders_.wait_until(lock, stop, at, [&] { return due() < at; });
  }
  ask = ask_wanted_;
  reply_wanted_ = ask_wanted_ = flush_moved_ = false;
  return !stop.stop_requested();
}

void Replication::Stream::feedback(std::stop_token stop) {
  SteadyTime last_sent = SteadyTime();
  bool ask = false;
  while (wait_for_orders(stop, last_sent, ask)) {
    auto sent = send_status(ask);
    last_sent = steady_now();
    if (sent) continue;
    const std::lock_guard lock(state_mutex_);
    feedback_error_ = std::move(sent).error();
    wake();
    return;
  }
}

Status Replication::Stream::send_status(bool ask) {
  StatusUpdate status;
  status.written = received_.get();
  // The server believes any number, and would skip what lies below one that is too high.
  status.flushed = std::min(flushed_.get(), status.written);
  if (mutated("ack_received")) status.flushed = status.written;
  status.now = system_clock().wall();
  status.reply_requested = ask;
  const auto bytes = encode_status(status);
  {
    const std::lock_guard lock(connection_mutex_);
    if (PQputCopyData(handle_.get(), bytes.data(), static_cast<int>(bytes.size())) < 0) {
      return fail(server_error(handle_.get(), nullptr, redactor_, "acknowledge"));
    }
  }
  if (!flush_output(steady_now() + options_.receive_timeout)) {
    const std::lock_guard lock(connection_mutex_);
    return fail(server_error(handle_.get(), nullptr, redactor_, "acknowledge")
                    .with_code(ErrorCode::retryable));
  }
  if (status.flushed) MILLRACE_FAILPOINT(capture_acknowledged);
  return {};
}

// False when the connection failed or would take nothing until `deadline`.
bool Replication::Stream::flush_output(SteadyTime deadline) {
  while (true) {
    int socket = -1;
    {
      const std::lock_guard lock(connection_mutex_);
      const int unsent = PQflush(handle_.get());
      if (unsent <= 0) return unsent == 0;
      socket = PQsocket(handle_.get());
    }
    if (steady_now() >= deadline) return false;
    pollfd file{socket, POLLOUT, 0};
    poll(&file, 1, static_cast<int>(std::min(until(deadline), Millis(100)).count()));
  }
}

void Replication::Stream::end_feedback() {
  feedback_thread_.request_stop();
  if (feedback_thread_.joinable()) feedback_thread_.join();
}

void Replication::Stream::stop() {
  end_feedback();
  const SteadyTime deadline = steady_now() + kStopTimeout;
  if (handle_ && streaming_ && send_status(false)) {
    // The server reads in order: once it has answered CopyDone, it has taken the acknowledgement.
    PQputCopyEnd(handle_.get(), nullptr);
    while (flush_output(deadline) && steady_now() < deadline) {
      char* data = nullptr;
      const int length = PQgetCopyData(handle_.get(), &data, 1);
      frame_.reset(data);
      if (length < 0) break;
      if (length > 0) continue;
      pollfd file{PQsocket(handle_.get()), POLLIN, 0};
      poll(&file, 1, static_cast<int>(std::min(until(deadline), Millis(50)).count()));
      if (PQconsumeInput(handle_.get()) == 0) break;
    }
  }
  streaming_ = false;
  handle_.reset();
}

}  // namespace millrace::source
