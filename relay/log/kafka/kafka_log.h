// The Kafka log: topics of a broker behind relay/log/log.h, through librdkafka.
//
// Invariant: the settings that the promises lean on (idempotence, acks, endless delivery, no
// commits) are not the user's to change; whatever else librdkafka knows is. Threads: the Log is
// thread-safe; each producer and reader has connections and threads of its own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/log/log.h"

namespace millrace::log {

struct KafkaOptions {
  std::string brokers;         // "host:port,host:port"
  std::string manifest_topic;  // one partition
  // librdkafka settings of the user, applied last: sasl.*, ssl.*, compression.type, linger.ms ...
  std::map<std::string, std::string> passthrough;
  int replication_factor = 3;  // of topics that are created
  Millis retention{24 * 3600 * 1000};
  size_t max_record_bytes = size_t{64} << 20;
  // Half for a producer's queue; of a reader see read_ahead.h.
  size_t memory_bytes = size_t{32} << 20;
  size_t partitions = 0;  // of all data topics; 0: not known. Many share what is read ahead
  std::string client_id = "millrace";
  // How long a reader waits for records that a manifest promises before it asks the broker whether
  // they are still there.
  Millis patience{5000};
};

// Makes no connection yet. Errors: config for a setting that librdkafka or this program refuses
// (named).
Result<std::unique_ptr<Log>> open_kafka(const KafkaOptions& options);

}  // namespace millrace::log
