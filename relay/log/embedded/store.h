// The RocksDB folder under the embedded log: its topics, its blocks and where each topic begins and
// ends.
//
// Invariant: Topic::end moves only after the block in front of it was written (the manifest
// topic's: synced). Threads: thread-safe, but what is marked "writer thread" belongs to
// relay/log/embedded/writer.h. Topics live as long as the store; a removed one stays as a husk.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "relay/base/result.h"
#include "relay/log/embedded/block.h"
#include "relay/log/embedded/embedded_log.h"

namespace rocksdb {
class DB;
class Status;
class WriteBatch;
}  // namespace rocksdb

namespace millrace::log {

// What stands before `offset` was written no later than `micros`; `bytes` counts from the topic's
// birth.
struct RetentionMark {
  LogOffset offset = 0;
  uint64_t micros = 0;
  uint64_t bytes = 0;
};

struct Topic {
  uint32_t id = 0;
  std::string name;
  std::atomic<LogOffset> start{0};
  std::atomic<LogOffset> end{0};
  std::atomic<LogOffset> released{0};
  std::atomic<bool> removed{false};
  // Writer thread:
  LogOffset next = 0;
  uint64_t bytes = 0;
  std::deque<RetentionMark> marks;  // the first one stands at `start`
};

// A block and the memory that it stands in.
struct HeldBlock {
  LogOffset first = 0;
  LogOffset end = 0;
  std::string bytes;
};

class Store {
 public:
  static Result<std::unique_ptr<Store>> open(const EmbeddedOptions& options);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const EmbeddedOptions& options() const { return options_; }
  Topic& control() { return *control_; }
  Status make_control();  // after remove() took the manifest topic

  Status check_owner();
  Topic* find(const std::string& name);  // nullptr: there is none
  Result<Topic*> find_or_create(const std::string& name);
  Status remove(const std::string& name);
  std::vector<Topic*> topics();

  // The block that holds `offset`, or the first one after it; nullopt at the topic's end.
  // Errors: corruption with topic and offset; retryable for the disk.
  Result<std::optional<HeldBlock>> block_at(const Topic& topic, LogOffset offset);

  // Waits until the manifest topic reaches beyond `offset`, `wait` is over or `stop` is set.
  void wait_for_control(LogOffset offset, Millis wait, const std::atomic<bool>& stop);
  void wake_waiting();
  // Observer: sees what the owner has written since. Otherwise nothing.
  Status refresh();

  // Writer thread. Without `sync` the batch survives the process, with it the machine.
  Status write(rocksdb::WriteBatch& batch, bool sync);
  Status sync();
  void control_synced(LogOffset end);

  // Errors: retryable when the disk is nearly full: what RocksDB writes by itself needs the rest.
  Status check_room() const;
  // After a failed write RocksDB must be opened anew. REQUIRES: no producer is alive. Errors:
  // retryable while the cause lasts.
  Status recover();

 private:
  explicit Store(const EmbeddedOptions& options);
  Status open_db();
  Status check_version();
  Status load_topics();
  Status load_topic(Topic& topic);
  Status load_bounds(Topic& topic);
  Result<uint32_t> next_topic_id();
  Error error(const rocksdb::Status& status, const std::string& doing) const;
  Status check_open() const;
  Result<HeldBlock> held(const Topic& topic, LogOffset first, std::string bytes) const;
  Result<std::optional<HeldBlock>> search_block(const Topic& topic, LogOffset offset);

  EmbeddedOptions options_;
  std::shared_mutex db_mutex_;  // exclusive: db_ is being opened anew
  std::unique_ptr<rocksdb::DB> db_;
  std::mutex mutex_;  // topics_, husks_
  std::map<std::string, std::unique_ptr<Topic>> topics_;
  std::vector<std::unique_ptr<Topic>> husks_;
  std::atomic<Topic*> control_{nullptr};
  std::mutex tail_mutex_;
  std::condition_variable tail_;
  std::atomic<bool> failed_{false};
};

}  // namespace millrace::log
