// What the Kafka log asks of brokers beside producing and reading: topics, their settings, their
// bounds.
//
// Threads: any; each call waits for the broker, within its time limit.
#pragma once

#include <string>
#include <vector>

#include "relay/log/kafka/client.h"

namespace millrace::log::kafka {

// Creates the topics that are missing, and waits until the brokers know and serve them.
Status create_topics(Client& client, const std::vector<TopicSpec>& topics);
// Each must exist; the manifest topic has one partition; whole ranges are kept and large records
// taken. Brokers that have not heard of one yet are given time, more of it when it is `just_made`.
Status check_topics(Client& client, const std::vector<TopicSpec>& topics, bool just_made);
Status delete_topics(Client& client, const std::vector<TopicSpec>& topics);

// Number of partitions; 0 when the topic does not exist.
Result<int32_t> partition_count(Client& client, const std::string& topic, Millis wait);

// Returns when the leader of every partition serves it. A producer must ask before its first
// record: while a broker is still taking a new partition over it can turn a first batch away and
// accept the second, and librdkafka then counts the first as delivered (KAFKA-15591).
Status wait_for_leaders(Client& client, const std::string& topic, int32_t partitions, Millis wait);

// The offsets that a partition holds now.
Result<Bounds> watermarks(Client& client, const std::string& topic, int32_t partition, Millis wait);

// "topic t, partition 3: offset 17 is wanted, the log holds [20, 40)"
Error gone(const std::string& topic, int32_t partition, LogOffset wanted, const Bounds& bounds);

}  // namespace millrace::log::kafka
