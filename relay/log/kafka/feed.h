// Consumption of one partition from a given offset on: no consumer group, no commits.
//
// librdkafka stops fetching when a partition's queue is full, and may sleep for a second after it
// was drained: whoever waits here while there is more wakes it with a Nudger.
//
// Invariant: messages come in offset order from where start() said; an offset that the partition
// does not hold is `refused`, never silently replaced by another. Thread: one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "relay/log/kafka/nudger.h"

namespace millrace::log::kafka {

class Feed {
 public:
  Feed(Client& client, Nudger& nudger, std::string topic, int32_t partition)
      : client_(client), nudger_(nudger), topic_(std::move(topic)), partition_(partition) {}
  ~Feed() { stop(); }
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  // From now on, next() begins at `offset`.
  Status start(LogOffset offset);
  void stop();
  bool running() const { return queue_ != nullptr; }

  // Offset of the next message at the earliest.
  LogOffset position() const { return position_; }
  // Where the partition ended when its end was last met; -1 before.
  LogOffset end_seen() const { return end_seen_; }

  // About how much is read ahead, in bytes.
  size_t queued_bytes() const;

  // By the last fetch's word or by expect()'s, and without asking anybody: there are messages at or
  // after position().
  bool more_is_there() const;
  // Somebody knows of messages up to `end`. What the last fetch said may be old: nobody fetches
  // while the queue is full.
  void expect(LogOffset end) { expected_end_ = std::max(expected_end_, end); }

  // The next message; empty when nothing came within `wait`.
  // Errors: refused (the offset is gone, the topic is gone), retryable, corruption.
  Result<Message> next(Millis wait);

 private:
  Result<Message> take_ready();
  Result<Message> wait_for_one(Millis wait);
  Result<Message> judge(Message message);
  Status out_of_range();

  Client& client_;
  Nudger& nudger_;
  const std::string topic_;
  const int32_t partition_;
  TopicHandle handle_;
  Queue queue_;
  std::vector<Message> ready_;  // reversed: the next one is at the back
  LogOffset position_ = 0;
  LogOffset end_seen_ = -1;
  LogOffset expected_end_ = -1;
  uint64_t taken_messages_ = 0;
  uint64_t taken_bytes_ = 0;
  SteadyTime beyond_since_{};  // since when the wanted offset has been beyond the partition's end
};

}  // namespace millrace::log::kafka
