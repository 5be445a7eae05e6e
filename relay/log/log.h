// The log: topics of ordered, offset-addressed records. Two implementations: kafka/ and embedded/.
//
// A pipeline has data topics (rows, any number of partitions) and one manifest topic (one
// partition, "control" below). This interface moves bytes and says what is durable where; what the
// bytes mean is relay/wire's, and who may publish is relay/pipeline/publisher's business.
//
// Invariant: an offset reported durable stays readable, with the same bytes, until retention
// removes it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/event/manifest.h"

namespace millrace::log {

using GroupId = uint64_t;  // chosen by the caller, ascending

// Every row record of a sealed group is durable (Kafka: acknowledged by all in-sync replicas;
// embedded: written in front of whatever is synced next). `ranges` has one entry for each partition
// written to.
struct GroupDurable {
  GroupId group = 0;
  std::vector<OffsetRange> ranges;
};

// A control record is durable at `offset` of the manifest topic.
struct ControlDurable {
  uint64_t ticket = 0;
  LogOffset offset = -1;
};

using ProducerEvent = std::variant<GroupDurable, ControlDurable>;

// One thread. After any error the producer is dead: destroy it, make another one and claim again.
class Producer {
 public:
  virtual ~Producer() = default;

  // Queues a row record; copies both views. The record goes to the partition that `key` hashes to
  // (the Murmur2 of Kafka's own default partitioner); an empty key goes to partition 0. False: the
  // memory budget is used up, nothing was queued; poll and try again.
  // REQUIRES: `group` is not sealed, and no later group has been begun.
  // Errors: bad_data for a record larger than the log takes (it names the size and the limit).
  virtual Result<bool> append(GroupId group, const std::string& topic, std::string_view key,
                              std::string_view value) = 0;

  // No more records in `group`. A group without records is reported durable too.
  virtual Status seal(GroupId group) = 0;

  // Queues a control record. Control records are made durable in the order of these calls.
  virtual Status append_control(uint64_t ticket, std::string_view value) = 0;

  // Waits up to `wait` for events; returns as soon as there is at least one, and without any when
  // an append was answered with false and there is room again.
  virtual Result<std::vector<ProducerEvent>> poll(Millis wait) = 0;

  // Bytes queued and not yet durable.
  virtual size_t queued_bytes() const = 0;

  // To how many partitions the group's records went, as far as that matters: a reader merges them,
  // and over Kafka those that rest meanwhile are read twice.
  virtual size_t partitions_written(GroupId) const { return 0; }
};

struct ControlEntry {
  LogOffset offset = -1;
  std::string value;
};

struct LogRecord {
  LogOffset offset = -1;
  std::string_view key;
  std::string_view value;
};

// Reads [start, end) of one partition, in offset order. One thread.
class RangeCursor {
 public:
  virtual ~RangeCursor() = default;
  // The next record of the range, or nullopt after its last. Views are valid until the next call.
  // Waits for records that the broker has not delivered yet; errors: retryable (broker), refused
  // when the range is gone (retention, recreated topic), cancelled after Reader::interrupt.
  virtual Result<std::optional<LogRecord>> next() = 0;
  // What comes next is not wanted soon: where memory is short, nothing is read ahead of it any
  // more. Ends the views; the next next() gives the last record again.
  // REQUIRES: the last next() gave one.
  virtual void rest() = 0;
  // It is wanted soon again: begins to read ahead.
  virtual Status prepare() = 0;
};

struct Bounds {
  LogOffset start = 0;  // first offset still there
  LogOffset end = 0;    // one past the last
};

// One thread, but interrupt() from any.
class Reader {
 public:
  virtual ~Reader() = default;

  virtual Result<Bounds> control_bounds() = 0;
  // The next next_control() returns the entry at `offset` or the first one after it.
  // Errors: refused when offset < bounds.start (retention removed it) or > bounds.end.
  virtual Status seek_control(LogOffset offset) = 0;
  // nullopt when nothing arrived within `wait`.
  virtual Result<std::optional<ControlEntry>> next_control(Millis wait) = 0;
  // A point read that leaves the tail's place alone. Errors: refused when it is gone.
  virtual Result<ControlEntry> control_at(LogOffset offset) = 0;

  // Ranges of one partition are cheapest when they are opened in ascending order.
  virtual Result<std::unique_ptr<RangeCursor>> open(const OffsetRange& range) = 0;

  // Makes a waiting call return `cancelled` soon.
  virtual void interrupt() = 0;
};

struct TopicSpec {
  std::string name;
  int32_t partitions = 1;
};

// Thread-safe. Producers and readers must not outlive it.
class Log {
 public:
  virtual ~Log() = default;

  // Creates what is missing (the manifest topic always), checks what is there
  // (cleanup.policy=delete, one manifest partition, max.message.bytes). `create` false: only
  // checks.
  virtual Status ensure_topics(const std::vector<TopicSpec>& topics, bool create) = 0;
  virtual Status remove_topics(const std::vector<TopicSpec>& topics) = 0;
  virtual Result<std::unique_ptr<Producer>> producer() = 0;
  virtual Result<std::unique_ptr<Reader>> reader() = 0;
  // Tells the log that nobody of this pipeline needs what stands before these offsets (embedded:
  // may be removed once retention allows; Kafka: nothing, the broker's retention rules).
  virtual void release_before(LogOffset control_offset, const std::vector<OffsetRange>& ranges) = 0;
  // "kafka localhost:9092" or "embedded ./state/log": for messages.
  virtual std::string describe() const = 0;
};

}  // namespace millrace::log
