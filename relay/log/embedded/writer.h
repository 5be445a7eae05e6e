// The thread that writes the embedded log: blocks and control records in the order they were handed
// over, one sync for all control records that wait together, and the removal of what nobody needs.
//
// Invariant: nothing of a channel is written after something of it failed; events are reported only
// for what was written (control records: synced). Threads: submit, recover and pending from any;
// the rest is the writer's own thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "relay/log/embedded/store.h"

namespace millrace::log {

// What a producer and the writer share; it outlives both.
struct Channel {
  std::mutex mutex;
  std::condition_variable changed;  // events, error, or queued_bytes fell
  std::vector<ProducerEvent> events;
  std::optional<Error> error;
  std::atomic<bool> closed{false};  // by the producer's end or an error: drop what is still queued
  std::atomic<size_t> queued_bytes{0};
  // Writer thread: what the groups that are not sealed have written.
  std::map<GroupId, std::vector<OffsetRange>> groups;
};

struct WriteItem {
  enum class Kind { block, seal, control };
  Kind kind = Kind::block;
  std::shared_ptr<Channel> channel;
  GroupId group = 0;
  uint64_t ticket = 0;
  Topic* topic = nullptr;
  uint32_t records = 0;
  std::string bytes;      // a finished block
  LogOffset offset = -1;  // given by the writer
};

class Writer {
 public:
  explicit Writer(Store& store);
  ~Writer();

  void submit(WriteItem item);

 private:
  void run();
  void write_all(std::vector<WriteItem>& items);
  Status write_chunk(std::vector<WriteItem>& items, size_t from, size_t to, bool sync);
  void add_mark(rocksdb::WriteBatch& batch, Topic& topic, size_t bytes);
  void report(std::vector<WriteItem>& items, size_t from, size_t to);
  void fail_channels(std::vector<WriteItem>& items, size_t from, const Error& error);

  Store& store_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::vector<WriteItem> queue_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace millrace::log
