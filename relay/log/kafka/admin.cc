#include "relay/log/kafka/admin.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <thread>

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>

#include "relay/base/logging.h"
#include "relay/log/kafka/complaints.h"

namespace millrace::log::kafka {
namespace {

constexpr int kAdminWaitMs = 15000;
constexpr Millis kLook{2000};  // how long another broker has to answer when one turned us away
constexpr Millis kLeaderWait{3000};
// Of one request. A controller refuses what makes more than 10,000 records at once: one a topic,
// one a partition and one a setting (MAX_RECORDS_PER_USER_OP of Kafka's QuorumController).
constexpr size_t kRecordsMost = 5000;
constexpr size_t kRecordsBesidePartitions = 5;

struct EventDeleter {
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
};
using Event = std::unique_ptr<rd_kafka_event_t, EventDeleter>;

struct OptionsDeleter {
  void operator()(rd_kafka_AdminOptions_t* options) const {
    rd_kafka_AdminOptions_destroy(options);
  }
};
using AdminOptions = std::unique_ptr<rd_kafka_AdminOptions_t, OptionsDeleter>;

struct NewTopicDeleter {
  void operator()(rd_kafka_NewTopic_t* topic) const { rd_kafka_NewTopic_destroy(topic); }
};
using NewTopic = std::unique_ptr<rd_kafka_NewTopic_t, NewTopicDeleter>;

struct PartitionsDeleter {
  void operator()(rd_kafka_topic_partition_list_t* list) const {
    rd_kafka_topic_partition_list_destroy(list);
  }
};
using Partitions = std::unique_ptr<rd_kafka_topic_partition_list_t, PartitionsDeleter>;

size_t message_bytes(const Client& client) {
  return client.options().max_record_bytes + kRecordOverheadBytes;
}

AdminOptions admin_options(Client& client, rd_kafka_admin_op_t operation) {
  AdminOptions options(rd_kafka_AdminOptions_new(client.get(), operation));
  std::array<char, 256> text{};
  rd_kafka_AdminOptions_set_request_timeout(options.get(), kAdminWaitMs, text.data(), text.size());
  return options;
}

// The reply, or the error that stands for all of it.
Result<Event> wait_reply(Client& client, rd_kafka_queue_t* queue, const std::string& doing) {
  Event event(rd_kafka_queue_poll(queue, kAdminWaitMs + 1000));
  if (!event) return fail(retryable(client, doing, RD_KAFKA_RESP_ERR__TIMED_OUT));
  if (const auto error = rd_kafka_event_error(event.get())) {
    if (error == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE) {
      return fail(ErrorCode::config, fmt::format("kafka {}: {}: the broker can not do it",
                                                 client.options().brokers, doing));
    }
    return fail(retryable(client, doing, error));
  }
  return event;
}

Result<NewTopic> new_topic(const Client& client, const TopicSpec& spec) {
  std::array<char, 512> text{};
  NewTopic topic(rd_kafka_NewTopic_new(spec.name.c_str(), spec.partitions,
                                       client.options().replication_factor, text.data(),
                                       text.size()));
  if (!topic) return fail(ErrorCode::config, fmt::format("topic {}: {}", spec.name, text.data()));
  const std::array<std::pair<const char*, std::string>, 4> settings = {{
      {"cleanup.policy", "delete"},
      {"max.message.bytes", std::to_string(message_bytes(client))},
      {"retention.ms", std::to_string(client.options().retention.count())},
      {"retention.bytes", "-1"},
  }};
  for (const auto& [name, value] : settings)
    rd_kafka_NewTopic_set_config(topic.get(), name, value.c_str());
  return topic;
}

Status check_created(const Client& client, const rd_kafka_topic_result_t& result, bool first) {
  const auto error = rd_kafka_topic_result_error(&result);
  const char* name = rd_kafka_topic_result_name(&result);
  const char* said = rd_kafka_topic_result_error_string(&result);
  const std::string text = said != nullptr ? said : rd_kafka_err2str(error);
  switch (error) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
      return {};
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
      // Its other topics have so many replicas: a broker is away.
      return fail(first ? ErrorCode::config : ErrorCode::retryable,
                  fmt::format("topic {}: {}", name, text),
                  fmt::format("log.replication_factor is {}; there are fewer brokers",
                              client.options().replication_factor));
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
      return fail(ErrorCode::config, fmt::format("topic {}: {}", name, text));
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
      return fail(ErrorCode::config, fmt::format("topic {}: {}", name, text),
                  "give the right Create, or create the topic by hand and use `setup: manual`");
    default:
      return fail(ErrorCode::retryable, fmt::format("topic {}: {}", name, text));
  }
}

// The number of partitions, 0 where `patience` has passed without any. Brokers hear of a topic one
// by one, and the next question may go to another one; one that has just started knows none.
Result<int32_t> await_partitions(Client& client, const TopicSpec& topic, Millis patience) {
  const SteadyTime until = system_clock().now() + patience;
  for (;;) {
    TRY_ASSIGN(const int32_t partitions, partition_count(client, topic.name, Millis(kAdminWaitMs)));
    if (partitions > 0 || system_clock().now() >= until) return partitions;
    std::this_thread::sleep_for(Millis(20));
  }
}

Status wait_known(Client& client, const TopicSpec& topic) {
  TRY_ASSIGN(const int32_t partitions, await_partitions(client, topic, Millis(kAdminWaitMs)));
  if (partitions > 0) return {};
  return fail(ErrorCode::retryable,
              fmt::format("topic {} was created, but the brokers do not know it yet", topic.name));
}

Status check_setting(const Client& client, const std::string& topic, std::string_view name,
                     const char* value) {
  if (value == nullptr) return {};
  const std::string_view text = value;
  if (name == "cleanup.policy" && text.find("compact") != std::string_view::npos) {
    return fail(
        ErrorCode::config,
        fmt::format(
            "topic {} has cleanup.policy={}: compaction would tear the ranges that manifests name",
            topic, text),
        fmt::format("kafka-configs.sh --alter --topic {} --add-config cleanup.policy=delete",
                    topic));
  }
  if (name == "max.message.bytes") {
    size_t bytes = 0;
    std::from_chars(text.data(), text.data() + text.size(), bytes);
    if (bytes < message_bytes(client)) {
      return fail(ErrorCode::config,
                  fmt::format("topic {} takes messages of {} bytes; log.max_record needs {}", topic,
                              text, message_bytes(client)),
                  fmt::format("kafka-configs.sh --alter --topic {} --add-config "
                              "max.message.bytes={}, or lower log.max_record",
                              topic, message_bytes(client)));
    }
  }
  return {};
}

Status check_settings(const Client& client, const rd_kafka_ConfigResource_t& resource) {
  const std::string topic = rd_kafka_ConfigResource_name(&resource);
  if (const auto error = rd_kafka_ConfigResource_error(&resource)) {
    // Whoever may not see the settings answers for them.
    logging::warn("topic settings not checked",
                  {{"topic", topic}, {"error", rd_kafka_err2str(error)}});
    return {};
  }
  size_t count = 0;
  const rd_kafka_ConfigEntry_t** entries = rd_kafka_ConfigResource_configs(&resource, &count);
  for (size_t i = 0; i < count; i++) {
    TRY(check_setting(client, topic, rd_kafka_ConfigEntry_name(entries[i]),
                      rd_kafka_ConfigEntry_value(entries[i])));
  }
  return {};
}

Status describe_settings(Client& client, const std::vector<TopicSpec>& topics) {
  std::vector<rd_kafka_ConfigResource_t*> resources;
  resources.reserve(topics.size());
  for (const TopicSpec& topic : topics) {
    resources.push_back(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.name.c_str()));
  }
  Queue queue(rd_kafka_queue_new(client.get()));
  const AdminOptions options = admin_options(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
  rd_kafka_DescribeConfigs(client.get(), resources.data(), resources.size(), options.get(),
                           queue.get());
  rd_kafka_ConfigResource_destroy_array(resources.data(), resources.size());
  auto event = wait_reply(client, queue.get(), "describe topics");
  if (!event && event.error().code() == ErrorCode::config) {
    logging::warn("topic settings not checked", {{"error", event.error().message()}});
    return {};
  }
  if (!event) return fail(event.error());
  const auto* result = rd_kafka_event_DescribeConfigs_result(event->get());
  size_t count = 0;
  const auto** described = rd_kafka_DescribeConfigs_result_resources(result, &count);
  for (size_t i = 0; i < count; i++) TRY(check_settings(client, *described[i]));
  return {};
}

// In one request. `first`: nothing of this pipeline is there yet.
Status create_at_once(Client& client, const std::vector<TopicSpec>& topics, bool first) {
  std::vector<NewTopic> owned;
  std::vector<rd_kafka_NewTopic_t*> missing;
  for (const TopicSpec& spec : topics) {
    TRY_ASSIGN(NewTopic topic, new_topic(client, spec));
    missing.push_back(topic.get());
    owned.push_back(std::move(topic));
  }
  Queue queue(rd_kafka_queue_new(client.get()));
  const AdminOptions options = admin_options(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
  rd_kafka_CreateTopics(client.get(), missing.data(), missing.size(), options.get(), queue.get());
  TRY_ASSIGN(const Event event, wait_reply(client, queue.get(), "create topics"));
  size_t count = 0;
  const auto* result = rd_kafka_event_CreateTopics_result(event.get());
  const auto** results = rd_kafka_CreateTopics_result_topics(result, &count);
  for (size_t i = 0; i < count; i++) TRY(check_created(client, *results[i], first));
  return {};
}

}  // namespace

Status create_topics(Client& client, const std::vector<TopicSpec>& topics) {
  std::vector<TopicSpec> missing;
  for (const TopicSpec& spec : topics) {
    TRY_ASSIGN(const int32_t partitions, partition_count(client, spec.name, Millis(kAdminWaitMs)));
    if (partitions == 0) missing.push_back(spec);
  }
  if (missing.empty()) return {};
  const bool first = missing.front().name == client.options().manifest_topic;
  std::vector<TopicSpec> batch;
  size_t records = 0;
  for (const TopicSpec& spec : missing) {
    const size_t more = static_cast<size_t>(spec.partitions) + kRecordsBesidePartitions;
    if (!batch.empty() && records + more > kRecordsMost) {
      TRY(create_at_once(client, batch, first));
      batch.clear();
      records = 0;
    }
    batch.push_back(spec);
    records += more;
  }
  TRY(create_at_once(client, batch, first));
  for (const TopicSpec& topic : missing) {
    TRY(wait_known(client, topic));
    TRY(wait_for_leaders(client, topic.name, topic.partitions, Millis(kAdminWaitMs)));
  }
  return {};
}

Status check_topics(Client& client, const std::vector<TopicSpec>& topics, bool just_made) {
  const Millis patience = just_made ? Millis(kAdminWaitMs) : kLeaderWait;
  for (const TopicSpec& topic : topics) {
    TRY_ASSIGN(const int32_t partitions, await_partitions(client, topic, patience));
    if (partitions == 0) {
      return fail(
          ErrorCode::config,
          fmt::format("topic {} does not exist on kafka {}", topic.name, client.options().brokers),
          "run `millrace setup`");
    }
    if (topic.name == client.options().manifest_topic && partitions != 1) {
      return fail(ErrorCode::config,
                  fmt::format("the manifest topic {} has {} partitions; its records need one order",
                              topic.name, partitions),
                  "name a topic with one partition, or delete this one");
    }
  }
  return topics.empty() ? Status() : describe_settings(client, topics);
}

Status delete_topics(Client& client, const std::vector<TopicSpec>& topics) {
  if (topics.empty()) return {};
  std::vector<rd_kafka_DeleteTopic_t*> doomed;
  doomed.reserve(topics.size());
  for (const TopicSpec& topic : topics)
    doomed.push_back(rd_kafka_DeleteTopic_new(topic.name.c_str()));
  Queue queue(rd_kafka_queue_new(client.get()));
  const AdminOptions options = admin_options(client, RD_KAFKA_ADMIN_OP_DELETETOPICS);
  rd_kafka_DeleteTopics(client.get(), doomed.data(), doomed.size(), options.get(), queue.get());
  rd_kafka_DeleteTopic_destroy_array(doomed.data(), doomed.size());
  TRY_ASSIGN(const Event event, wait_reply(client, queue.get(), "delete topics"));
  size_t count = 0;
  const auto* result = rd_kafka_event_DeleteTopics_result(event.get());
  const auto** results = rd_kafka_DeleteTopics_result_topics(result, &count);
  for (size_t i = 0; i < count; i++) {
    const auto error = rd_kafka_topic_result_error(results[i]);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR || error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
      continue;
    if (is_denied(error))
      return fail(denied(client, rd_kafka_topic_result_name(results[i]), "Delete"));
    return fail(ErrorCode::retryable,
                fmt::format("delete topic {}: {}", rd_kafka_topic_result_name(results[i]),
                            rd_kafka_err2str(error)));
  }
  return {};
}

Result<int32_t> partition_count(Client& client, const std::string& name, Millis wait) {
  TRY_ASSIGN(const TopicHandle topic, client.topic(name));
  const rd_kafka_metadata_t* found = nullptr;
  const SteadyTime until = system_clock().now() + wait;
  for (;;) {
    const auto left = std::max(Millis(1), std::chrono::ceil<Millis>(until - system_clock().now()));
    const auto error = rd_kafka_metadata(client.get(), 0, topic.get(), &found,
                                         static_cast<int>(std::min(left, kLook).count()));
    if (!error) break;
    const bool again = error == RD_KAFKA_RESP_ERR__TIMED_OUT && left > kLook;
    if (!again || client.turned_away()) return fail(retryable(client, "topic " + name, error));
  }
  const std::unique_ptr<const rd_kafka_metadata_t, decltype(&rd_kafka_metadata_destroy)> metadata(
      found, rd_kafka_metadata_destroy);
  if (metadata->topic_cnt != 1) return 0;
  const rd_kafka_metadata_topic_t& it = metadata->topics[0];
  if (it.err == RD_KAFKA_RESP_ERR_NO_ERROR) return it.partition_cnt;
  if (it.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
      it.err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
    return 0;
  if (it.err == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION) {
    return fail(ErrorCode::config, fmt::format("{} is not a topic name that Kafka takes", name));
  }
  if (is_denied(it.err)) return fail(denied(client, name, "Describe"));
  return fail(retryable(client, "topic " + name, it.err));
}

Status wait_for_leaders(Client& client, const std::string& topic, int32_t partitions, Millis wait) {
  const SteadyTime until = system_clock().now() + wait;
  for (;;) {
    const Partitions ends(rd_kafka_topic_partition_list_new(partitions));
    for (int32_t i = 0; i < partitions; i++) {
      rd_kafka_topic_partition_list_add(ends.get(), topic.c_str(), i)->offset = RD_KAFKA_OFFSET_END;
    }
    const auto left = std::max(Millis(1), std::chrono::ceil<Millis>(until - system_clock().now()));
    rd_kafka_resp_err_t error =
        rd_kafka_offsets_for_times(client.get(), ends.get(), static_cast<int>(left.count()));
    for (int i = 0; i < ends->cnt && !error; i++) error = ends->elems[i].err;
    if (!error) return {};
    if (system_clock().now() >= until)
      return fail(retryable(client, fmt::format("topic {}: its leaders", topic), error));
    std::this_thread::sleep_for(Millis(20));
  }
}

namespace {

// One end of a partition: `which` is RD_KAFKA_OFFSET_BEGINNING or RD_KAFKA_OFFSET_END, which Kafka
// takes for times. rd_kafka_query_watermark_offsets is not asked: it waits for a broker that died
// for as long as it is dead, whatever its time limit (librdkafka #2588, until 2.3).
rd_kafka_resp_err_t ask_offset(Client& client, const std::string& topic, int32_t partition,
                               int64_t which, SteadyTime until, LogOffset& found) {
  const Partitions asked(rd_kafka_topic_partition_list_new(1));
  auto* entry = rd_kafka_topic_partition_list_add(asked.get(), topic.c_str(), partition);
  entry->offset = which;
  const auto left = std::max(Millis(1), std::chrono::ceil<Millis>(until - system_clock().now()));
  const auto error =
      rd_kafka_offsets_for_times(client.get(), asked.get(), static_cast<int>(left.count()));
  if (error) return error;
  found = entry->offset;
  return entry->err;
}

}  // namespace

Result<Bounds> watermarks(Client& client, const std::string& topic, int32_t partition,
                          Millis wait) {
  const SteadyTime until = system_clock().now() + wait;
  bool unknown = false;
  for (;;) {
    Bounds bounds;
    auto error =
        ask_offset(client, topic, partition, RD_KAFKA_OFFSET_BEGINNING, until, bounds.start);
    if (!error)
      error = ask_offset(client, topic, partition, RD_KAFKA_OFFSET_END, until, bounds.end);
    if (!error) return bounds;
    // The last question may have had no time left: what was answered before it counts.
    unknown = error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
              error == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
              error == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
              (unknown && error == RD_KAFKA_RESP_ERR__TIMED_OUT);
    // A leader that moved, or a topic that was made a moment ago, is known again within a second or
    // two.
    const bool passes = unknown || error == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
                        error == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    const bool again = passes && system_clock().now() < std::min(until, until - wait + kLeaderWait);
    if (again) {
      std::this_thread::sleep_for(Millis(20));
      continue;
    }
    if (!unknown)
      return fail(
          retryable(client, fmt::format("topic {}, partition {}", topic, partition), error));
    // Not final: a broker that was started again says so of topics that it is still loading, for as
    // long as that takes it.
    return fail(ErrorCode::retryable,
                fmt::format("topic {}, partition {} does not exist on kafka {}", topic, partition,
                            client.options().brokers),
                "run `millrace setup`; when it was deleted, start again from a fresh copy with "
                "`millrace teardown` and `millrace setup`");
  }
}

Error gone(const std::string& topic, int32_t partition, LogOffset wanted, const Bounds& bounds) {
  return Error(ErrorCode::refused,
               fmt::format("topic {}, partition {}: offset {} is wanted, the log holds [{}, {})",
                           topic, partition, wanted, bounds.start, bounds.end),
               wanted < bounds.start
                   ? "retention removed it: raise the topic's retention.ms; "
                     "start again from a fresh copy with `millrace teardown` and `millrace setup`"
                   : "the topic was recreated or lost its end; start again from a fresh copy "
                     "with `millrace teardown` and `millrace setup`");
}

}  // namespace millrace::log::kafka
