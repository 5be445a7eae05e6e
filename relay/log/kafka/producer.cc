#include "relay/log/kafka/producer.h"

#include <algorithm>
#include <array>
#include <thread>

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>

#include "relay/base/logging.h"
#include "relay/log/kafka/admin.h"
#include "relay/log/kafka/complaints.h"

namespace millrace::log::kafka {
namespace {

// What librdkafka keeps beside a record's bytes, so that small ones count for what they cost.
constexpr size_t kMessageBytes = 256;
constexpr uint32_t kAppendsBetweenServes = 256;
constexpr Millis kTopicWait{3000};  // a stop must not wait longer for a broker that is away

size_t cost(size_t key, size_t value) { return key + value + kMessageBytes; }

}  // namespace

Result<std::unique_ptr<Producer>> KafkaProducer::make(const KafkaOptions& options) {
  TRY_ASSIGN(std::unique_ptr<Client> client, Client::make(options, Role::producer));
  return std::unique_ptr<Producer>(new KafkaProducer(std::move(client)));
}

KafkaProducer::KafkaProducer(std::unique_ptr<Client> client)
    : budget_bytes_(client->options().memory_bytes / 2),
      client_(std::move(client)),
      queue_(rd_kafka_queue_get_main(client_->get())) {}

// What is queued is of no use to anybody once its producer is gone.
KafkaProducer::~KafkaProducer() {
  rd_kafka_purge(client_->get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                     RD_KAFKA_PURGE_F_NON_BLOCKING);
  topics_.clear();
  queue_.reset();
}

Status KafkaProducer::check_alive() const {
  if (dead_) return fail(*dead_);
  return {};
}

void KafkaProducer::die(ErrorCode code, std::string what, std::string hint) {
  if (!dead_)
    dead_.emplace(code, fmt::format("kafka {}: {}", client_->options().brokers, what),
                  std::move(hint));
}

Status KafkaProducer::learn_partitions(ProducedTopic& topic) {
  // A topic that was made a moment ago is not known everywhere at once.
  const SteadyTime until = system_clock().now() + kTopicWait;
  while (topic.partitions == 0) {
    TRY_ASSIGN(topic.partitions, partition_count(*client_, topic.name, kTopicWait));
    if (topic.partitions > 0) break;
    if (system_clock().now() > until) {
      return fail(ErrorCode::retryable,
                  fmt::format("topic {} does not exist on kafka {}", topic.name,
                              client_->options().brokers),
                  "run `millrace setup`");
    }
    std::this_thread::sleep_for(Millis(50));
  }
  TRY(wait_for_leaders(*client_, topic.name, topic.partitions, kTopicWait));
  topic.tallies.assign(static_cast<size_t>(topic.partitions), nullptr);
  return {};
}

Result<KafkaProducer::ProducedTopic*> KafkaProducer::topic(const std::string& name) {
  if (last_topic_ != nullptr && last_topic_->name == name) return last_topic_;
  auto& slot = topics_[name];
  if (!slot) {
    auto made = std::make_unique<ProducedTopic>();
    made->name = name;
    TRY_ASSIGN(made->handle, client_->topic(name));
    TRY(learn_partitions(*made));
    slot = std::move(made);
  }
  last_topic_ = slot.get();
  return last_topic_;
}

KafkaProducer::Group& KafkaProducer::group_for(GroupId id) {
  if (!groups_.empty() && groups_.back()->id == id) return *groups_.back();
  for (auto& group : groups_) {
    if (group->id == id) return *group;
  }
  groups_.push_back(std::make_unique<Group>());
  groups_.back()->id = id;
  return *groups_.back();
}

KafkaProducer::Tally& KafkaProducer::tally_for(ProducedTopic& topic, Group& group,
                                               int32_t partition) {
  if (topic.group != &group) {
    topic.group = &group;
    std::fill(topic.tallies.begin(), topic.tallies.end(), nullptr);
  }
  Tally*& tally = topic.tallies[static_cast<size_t>(partition)];
  if (tally == nullptr) {
    tally = &group.tallies.emplace_back();
    tally->group = &group;
    tally->topic = &topic;
    tally->partition = partition;
  }
  return *tally;
}

Result<bool> KafkaProducer::append(GroupId group_id, const std::string& name, std::string_view key,
                                   std::string_view value) {
  if (++appends_ % kAppendsBetweenServes == 0) serve(Millis(0));
  TRY(check_alive());
  const size_t bytes = key.size() + value.size();
  if (bytes > client_->options().max_record_bytes) {
    return fail(
        ErrorCode::bad_data,
        fmt::format("a record of {} bytes for topic {} is larger than the log takes ({} bytes)",
                    bytes, name, client_->options().max_record_bytes),
        "raise log.max_record and the topic's max.message.bytes, or leave the column out");
  }
  if (queued_bytes_ > 0 && queued_bytes_ + cost(key.size(), value.size()) > budget_bytes_) {
    starved_ = true;
    return false;
  }
  TRY_ASSIGN(ProducedTopic* const topic_it, topic(name));
  const int32_t partition =
      key.empty() ? 0
                  : rd_kafka_msg_partitioner_murmur2(topic_it->handle.get(), key.data(), key.size(),
                                                     topic_it->partitions, nullptr, nullptr);
  Group& group = group_for(group_id);
  TRY_ASSIGN(const bool queued,
             produce(*topic_it, tally_for(*topic_it, group, partition), key, value));
  if (queued) group.outstanding++;
  return queued;
}

Result<bool> KafkaProducer::produce(ProducedTopic& topic, Tally& tally, std::string_view key,
                                    std::string_view value) {
  // A null pointer would be Kafka's tombstone; an empty value is not one.
  static char none[1] = {0};
  char* payload =
      value.empty() ? none : const_cast<char*>(value.data());  // copied, never written to
  const int failed =
      rd_kafka_produce(topic.handle.get(), tally.partition, RD_KAFKA_MSG_F_COPY, payload,
                       value.size(), key.empty() ? nullptr : key.data(), key.size(), &tally);
  if (failed == 0) {
    queued_bytes_ += cost(key.size(), value.size());
    return true;
  }
  const rd_kafka_resp_err_t error = rd_kafka_last_error();
  if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
    starved_ = true;
    return false;
  }
  if (error == RD_KAFKA_RESP_ERR__FATAL) {
    die_of_fatal_error(topic.name);
  } else {
    die(ErrorCode::retryable, fmt::format("topic {}: {}", topic.name, rd_kafka_err2str(error)));
  }
  return fail(*dead_);
}

Status KafkaProducer::seal(GroupId id) {
  TRY(check_alive());
  group_for(id).sealed = true;
  report_groups();
  return {};
}

Status KafkaProducer::append_control(uint64_t ticket, std::string_view value) {
  TRY(check_alive());
  if (value.size() > client_->options().max_record_bytes) {
    return fail(ErrorCode::bad_data,
                fmt::format("a control record of {} bytes is larger than the log takes ({} bytes)",
                            value.size(), client_->options().max_record_bytes));
  }
  TRY_ASSIGN(ProducedTopic* const manifests, topic(client_->options().manifest_topic));
  for (;;) {
    Tally& tally = controls_.emplace_back();
    tally.ticket = ticket;
    tally.topic = manifests;
    TRY_ASSIGN(const bool queued, produce(*manifests, tally, {}, value));
    if (queued) return {};
    controls_.pop_back();
    serve(Millis(10));  // control records are few: the queue's end is near
    TRY(check_alive());
  }
}

// Returns early without events when an append found no room and there is some again.
Result<std::vector<ProducerEvent>> KafkaProducer::poll(Millis wait) {
  serve_until(system_clock().now() + wait);
  starved_ = false;
  std::vector<ProducerEvent> events;
  events.swap(events_);
  if (events.empty()) TRY(check_alive());
  return events;
}

void KafkaProducer::serve_until(SteadyTime until) {
  serve(Millis(0));
  for (;;) {
    if (!events_.empty() || dead_) return;
    if (starved_ && queued_bytes_ <= budget_bytes_ / 2) return;
    const auto left = std::chrono::ceil<Millis>(until - system_clock().now());
    if (left <= Millis(0)) return;
    serve(left);
  }
}

// Handles what is there, after waiting for the first of it.
void KafkaProducer::serve(Millis wait) {
  int timeout_ms = static_cast<int>(std::min<int64_t>(wait.count(), 3'600'000));
  while (rd_kafka_event_t* event = rd_kafka_queue_poll(queue_.get(), timeout_ms)) {
    timeout_ms = 0;
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) take_reports(event);
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) take_error(event);
    rd_kafka_event_destroy(event);
  }
  report_groups();
}

void KafkaProducer::take_reports(rd_kafka_op_s* event) {
  while (const rd_kafka_message_t* message = rd_kafka_event_message_next(event))
    delivered(*message);
}

void KafkaProducer::take_error(rd_kafka_op_s* event) {
  const rd_kafka_resp_err_t error = rd_kafka_event_error(event);
  client_->note_error(error, rd_kafka_event_error_string(event));
  if (rd_kafka_event_error_is_fatal(event) != 0) {
    die_of_fatal_error(client_->options().manifest_topic);
  }
}

// A broker that gives no idempotent producer an identity does so because it may write to no topic
// at all: the first that was to be written to is named.
void KafkaProducer::die_of_fatal_error(const std::string& topic) {
  if (dead_) return;
  std::array<char, 512> text{};
  const auto error = rd_kafka_fatal_error(client_->get(), text.data(), text.size());
  if (is_denied(error)) {
    dead_.emplace(denied(*client_, topic, "Write"));
  } else {
    die(ErrorCode::retryable, fmt::format("the producer has failed: {}", text.data()));
  }
}

void KafkaProducer::delivered(const rd_kafka_message_s& message) {
  queued_bytes_ -= cost(message.key_len, message.len);
  Tally& tally = *static_cast<Tally*>(message._private);
  if (dead_) return;
  if (message.err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
    die(ErrorCode::bad_data,
        fmt::format("topic {} does not take a record of {} bytes", tally.topic->name, message.len),
        "raise the topic's max.message.bytes");
    return;
  }
  if (is_denied(message.err)) {
    dead_.emplace(denied(*client_, tally.topic->name, "Write"));
    return;
  }
  if (message.err || message.offset < 0) {
    // Without an offset (counted as delivered because a later batch was; a duplicate that the
    // broker has forgotten) no manifest can name the record, and it may be nowhere.
    die(ErrorCode::retryable, fmt::format("topic {}, partition {}: a record was not delivered: {}",
                                          tally.topic->name, tally.partition,
                                          message.err ? rd_kafka_err2str(message.err)
                                                      : "the broker does not know its offset"));
    return;
  }
  if (tally.group == nullptr) {
    events_.emplace_back(ControlDurable{tally.ticket, message.offset});
    controls_.pop_front();
    return;
  }
  if (tally.first < 0 || message.offset < tally.first) tally.first = message.offset;
  tally.last = std::max(tally.last, message.offset);
  tally.rows++;
  tally.group->outstanding--;
}

void KafkaProducer::report_groups() {
  while (!dead_ && !groups_.empty() && groups_.front()->sealed &&
         groups_.front()->outstanding == 0) {
    const Group& group = *groups_.front();
    GroupDurable durable{group.id, {}};
    for (const Tally& tally : group.tallies) {
      if (tally.rows == 0) continue;  // begun, but the queue was full
      durable.ranges.push_back(
          {tally.topic->name, tally.partition, tally.first, tally.last + 1, tally.rows});
    }
    events_.emplace_back(std::move(durable));
    for (auto& [name, it] : topics_) {
      if (it->group == &group) it->group = nullptr;
    }
    groups_.pop_front();
  }
}

}  // namespace millrace::log::kafka
