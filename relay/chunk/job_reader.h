// JobReader: the thread that reads the source for one job, from its last copied key to its end.
//
//   wait until the mark is seen ─► prepared ─► (start_job, go) ─► chunk, chunk, …, the last one
//
// A job needs a mark before its first row, and again after a TRUNCATE sent it back to its beginning
// (which must be visible then); one that goes on behind a key it has copied had it. Invariant: what
// it hands over is in key order without a gap, of one restart of the job. Retryable errors are
// tried again for ever and shown by state(). Own thread; the public calls are the applier's.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/chunk/job_source.h"
#include "relay/chunk/pacing.h"
#include "relay/chunk/throttle.h"
#include "relay/sink/history.h"

namespace millrace::chunk {

// Bytes of chunks that wait, of all readers. Thread-safe.
class ChunkBudget {
 public:
  explicit ChunkBudget(uint64_t bytes) : bytes_(bytes) {}
  // Waits until there is room, or nothing else is held: a chunk may be larger than the whole.
  // False: stopped.
  bool take(uint64_t bytes, const std::stop_token& stop);
  void give(uint64_t bytes);

 private:
  const uint64_t bytes_;
  std::mutex mutex_;
  std::condition_variable_any freed_;
  uint64_t held_ = 0;
};

struct ReaderOptions {
  // The source's waits end when the token says so.
  std::function<std::unique_ptr<JobSource>(std::stop_token)> source;
  Millis chunk_time{500};
  bool text_only = false;
  uint64_t chunk_bytes = 4U << 20;
  const ThrottleOptions* throttle = nullptr;
  const Clock* clock = nullptr;
  ChunkBudget* budget = nullptr;
};

class JobReader {
 public:
  JobReader(sink::CopyJob job, ReaderOptions options);
  ~JobReader();
  JobReader(const JobReader&) = delete;
  JobReader& operator=(const JobReader&) = delete;

  struct State {
    std::string why;  // it waits for
    bool throttled = false;
  };

  int64_t job() const { return job_.id; }
  uint64_t restarts() const { return job_.restarts; }
  // Once: the job with floor, until and rows_estimated, for start_job; go() then.
  std::optional<sink::CopyJob> take_prepared();
  void go();
  // The oldest chunk that waits; null: none. It stays until pop().
  sink::Chunk* front();
  // What is read from here on may be binary.
  void allow_binary() { binary_ = true; }
  // It was written, in so many seconds.
  void pop(double seconds);
  // What ended the reading; it is not tried again.
  std::optional<Error> failure() const;
  State state() const;
  void request_stop() { thread_.request_stop(); }

 private:
  void run(const std::stop_token& stop);
  Status attempt(const std::stop_token& stop);
  Status prepare(const std::stop_token& stop);
  Status wait_until_seen(const std::stop_token& stop);
  Status wait_for_go(const std::stop_token& stop);
  Status read_all(const std::stop_token& stop);
  Result<bool> read_range(sink::Chunk& chunk);
  Result<bool> read_keys(sink::Chunk& chunk);
  Status hold_back(const std::stop_token& stop);
  Status hand_over(sink::Chunk chunk, const std::stop_token& stop);
  source::RowRange range() const;
  void set_state(std::string why, bool throttled = false);

  sink::CopyJob job_;  // done_to: the last key read; the reader's thread alone, but id and restarts
  const ReaderOptions options_;
  std::unique_ptr<JobSource> source_;
  std::optional<source::TableToRead> table_;
  SteadyTime table_until_;
  std::optional<Mark> mark_;
  bool is_seen_ = false;
  bool is_prepared_ = false;
  std::atomic<bool> binary_{false};
  Pacing pacing_;
  Throttle throttle_;

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<sink::CopyJob> prepared_;
  bool go_ = false;
  std::deque<sink::Chunk> chunks_;
  std::optional<Error> failure_;
  State state_;
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace millrace::chunk
