// CatchUpPace: whether a reader of the slot is far behind, and how long it then waits before it
// looks at an empty socket again.
//
// A walsender sends one small segment a message while its reader waits for each of them, and over
// loopback TCP that costs it more than decoding does. While the reader is away the window fills,
// and then it sends large ones: a reader that is far behind and stays away for 20 ms whenever it
// has emptied the socket gets twice the rows a second from the same slot (docs/performance.md).
// At the stream's tail the same wait would be nothing but latency, so there it is zero.
//
// Far behind is: the last transaction that began was committed `behind` before the server sent what
// we read last, both by the server's clock, and `run_bytes` have come since the server last said
// that it had nothing more (a keepalive). So a small backlog is read as ever, one that ends within
// a wait costs one wait, and a stream that comes faster than it can be read at once settles at a
// lag of about `behind` instead of falling back for ever. XLogData frames of logical replication do
// not say where the server's WAL ends: hence the clock.
//
// Pure: no waiting, no clock of its own. One thread.
#pragma once

#include "relay/base/clock.h"
#include "relay/base/ids.h"
#include "relay/source/stream_messages.h"

namespace millrace::source {

class CatchUpPace {
 public:
  struct Rule {
    Millis wait{20};     // less hardly helps, more lets the server's window run full
    Millis behind{200};  // so that a wait adds a tenth at most to a lag that is there anyway
    size_t run_bytes = 1 << 20;  // of payload: what is less is read within some milliseconds
  };

  CatchUpPace() = default;
  explicit CatchUpPace(const Rule& rule) : rule_(rule) {}

  // Every frame that was read, in order.
  void received(const Frame& frame) {
    if (frame.kind == Frame::Kind::keepalive) {
      run_bytes_ = 0;
      return;
    }
    anything_ = true;
    run_bytes_ += frame.payload.size();
    sent_at_ = frame.sent_at;
  }
  // The transaction that the last frame began or, when it was streamed while open, committed.
  void begun(TimeMicros commit_time) { commit_time_ = commit_time; }

  bool far_behind() const {
    const int64_t behind_micros = sent_at_.value - commit_time_.value;
    return run_bytes_ >= rule_.run_bytes && behind_micros >= rule_.behind.count() * 1000;
  }

  // The socket was found empty: stay away for so long before looking again. Zero at the tail, and
  // when nothing came since the last wait: then the server is waited for, as ever.
  Millis next_wait() {
    if (!anything_ || !far_behind()) return Millis(0);
    anything_ = false;
    return rule_.wait;
  }

 private:
  Rule rule_;
  bool anything_ = false;  // read since the last wait
  size_t run_bytes_ = 0;   // since the last keepalive
  TimeMicros sent_at_;
  TimeMicros commit_time_;
};

}  // namespace millrace::source
