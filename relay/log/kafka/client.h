// A librdkafka handle: its settings by role, its log lines in ours, and what its brokers last
// complained of.
//
// Threads: librdkafka calls back from its own threads; trouble() is thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "relay/log/kafka/kafka_log.h"

struct rd_kafka_s;
struct rd_kafka_topic_s;
struct rd_kafka_queue_s;
struct rd_kafka_message_s;

namespace millrace::log::kafka {

struct HandleDeleter {
  void operator()(rd_kafka_s* handle) const;
};
struct TopicDeleter {
  void operator()(rd_kafka_topic_s* topic) const;
};
struct QueueDeleter {
  void operator()(rd_kafka_queue_s* queue) const;
};
struct MessageDeleter {
  void operator()(rd_kafka_message_s* message) const;
};
using Handle = std::unique_ptr<rd_kafka_s, HandleDeleter>;
using TopicHandle = std::unique_ptr<rd_kafka_topic_s, TopicDeleter>;
using Queue = std::unique_ptr<rd_kafka_queue_s, QueueDeleter>;
using Message = std::unique_ptr<rd_kafka_message_s, MessageDeleter>;

// Of a record and the batch around it, for max.message.bytes.
inline constexpr size_t kRecordOverheadBytes = 1024;

enum class Role { producer, control_reader, data_reader, admin };

class Client {
 public:
  static Result<std::unique_ptr<Client>> make(const KafkaOptions& options, Role role);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  rd_kafka_s* get() const { return handle_.get(); }
  const KafkaOptions& options() const { return options_; }
  Result<TopicHandle> topic(const std::string& name);

  // "Connection refused (127.0.0.1:9092)": the last complaint, or "no answer".
  std::string trouble();
  // A broker did not take our password, or we not its certificate: waiting longer does not help.
  bool turned_away();
  // Serves librdkafka's callbacks. True once after all brokers went away.
  bool lost_all_brokers();

  // Callbacks of librdkafka.
  void note_log(int level, const char* facility, const char* text);
  void note_error(int error, const char* reason);

 private:
  Client(const KafkaOptions& options, Role role) : options_(options), role_(role) {}
  void serve_callbacks();

  const KafkaOptions options_;
  const Role role_;
  mutable std::mutex mutex_;  // trouble_, warned_
  std::string trouble_;
  SteadyTime warned_{};
  std::atomic<bool> all_down_{false};
  std::atomic<bool> turned_away_{false};
  Handle handle_;
};

// "Broker: Unknown topic" for a librdkafka error code.
std::string error_text(int error);

}  // namespace millrace::log::kafka
