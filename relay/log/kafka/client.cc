#include "relay/log/kafka/client.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>

#include "relay/base/logging.h"
#include "relay/log/kafka/read_ahead.h"
#include "relay/log/kafka/steady_wait.h"

namespace millrace::log::kafka {
namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

// Ours alone: order, durability, exact ranges and the memory bound lean on them.
constexpr std::array kOurs = {"acks",
                              "auto.commit.enable",
                              "auto.offset.reset",
                              "bootstrap.servers",
                              "check.crcs",
                              "delivery.timeout.ms",
                              "dr_cb",
                              "dr_msg_cb",
                              "enable.auto.commit",
                              "enable.auto.offset.store",
                              "enable.gapless.guarantee",
                              "enable.idempotence",
                              "enable.partition.eof",
                              "fetch.max.bytes",
                              "fetch.message.max.bytes",
                              "group.id",
                              "group.instance.id",
                              "isolation.level",
                              "max.in.flight",
                              "max.in.flight.requests.per.connection",
                              "max.partition.fetch.bytes",
                              "message.max.bytes",
                              "message.send.max.retries",
                              "message.timeout.ms",
                              "metadata.broker.list",
                              "offset.store.method",
                              "partition.assignment.strategy",
                              "partitioner",
                              "queue.buffering.max.kbytes",
                              "queue.buffering.max.messages",
                              "queued.max.messages.kbytes",
                              "queued.min.messages",
                              "receive.message.max.bytes",
                              "request.required.acks",
                              "request.timeout.ms",
                              "retries",
                              "transaction.timeout.ms",
                              "transactional.id"};

std::string number(size_t value) { return std::to_string(value); }

Settings common_settings(const KafkaOptions& options) {
  return {{"bootstrap.servers", options.brokers}, {"client.id", options.client_id},
          {"socket.nagle.disable", "true"},       {"socket.keepalive.enable", "true"},
          {"log.connection.close", "false"},      {"reconnect.backoff.ms", "50"},
          {"reconnect.backoff.max.ms", "2000"},   {"topic.metadata.propagation.max.ms", "5000"}};
}

Settings producer_settings(const KafkaOptions& options) {
  const size_t budget = options.memory_bytes / 2;
  const size_t record_most = options.max_record_bytes + kRecordOverheadBytes;
  return {
      {"enable.idempotence", "true"},
      {"acks", "all"},
      {"message.timeout.ms", "0"},
      {"max.in.flight.requests.per.connection", "5"},
      {"linger.ms", "0"},
      {"compression.type", "lz4"},
      {"batch.size", number(std::clamp<size_t>(options.memory_bytes / 128, 64 << 10, 1 << 20))},
      {"batch.num.messages", "100000"},
      {"message.max.bytes", number(record_most)},
      {"retry.backoff.ms", "20"},
      // Our own accounting answers first; these are the backstop.
      {"queue.buffering.max.kbytes", number((budget + record_most) / 1024 + 1024)},
      {"queue.buffering.max.messages", number(std::clamp<size_t>(budget / 128, 1000, 10'000'000))}};
}

Settings reader_settings(const KafkaOptions& options, Role role) {
  const bool data = role == Role::data_reader;
  // Manifests are few, and read from one partition.
  const ReadAhead ahead = data ? read_ahead(options.memory_bytes, options.partitions)
                               : ReadAhead{64 << 10, 256 << 10, 2048, 256 << 10};
  const size_t all =
      std::max<size_t>(options.max_record_bytes + kRecordOverheadBytes, options.memory_bytes / 4);
  return {{"enable.auto.commit", "false"},
          {"auto.offset.reset", "error"},
          {"check.crcs", "true"},
          {"isolation.level", "read_uncommitted"},
          {"enable.partition.eof", "true"},
          {"allow.auto.create.topics", "false"},
          {"fetch.min.bytes", "1"},
          {"socket.timeout.ms", "10000"},
          // One fetch is open per broker, and a partition that is added waits until it returns:
          // short, as data partitions come and go (those at rest are stopped, so it is not asked in
          // vain). The control tail has its connection to itself and can wait long.
          {"fetch.wait.max.ms", data ? "3" : "500"},
          {"fetch.error.backoff.ms", "50"},
          {"fetch.message.max.bytes", number(ahead.fetch_bytes)},
          {"message.max.bytes", number(ahead.batch_bytes)},
          {"fetch.max.bytes", number(all)},
          {"receive.message.max.bytes", number(all + (size_t{1} << 20))},
          {"queued.min.messages", number(ahead.messages)},
          {"queued.max.messages.kbytes", number(ahead.queue_bytes / 1024)}};
}

Settings settings_for(const KafkaOptions& options, Role role) {
  Settings settings = common_settings(options);
  Settings more;
  if (role == Role::producer) more = producer_settings(options);
  if (role == Role::control_reader || role == Role::data_reader)
    more = reader_settings(options, role);
  // It is the first to talk to the brokers: a port that speaks another protocol just hangs up.
  if (role == Role::admin)
    more = {{"allow.auto.create.topics", "false"}, {"log.connection.close", "true"}};
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

Status apply(rd_kafka_conf_t* conf, const std::string& name, const std::string& value) {
  std::array<char, 512> text{};
  if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text.data(), text.size()) ==
      RD_KAFKA_CONF_OK)
    return {};
  // The value may be a secret: librdkafka's sentence is not repeated.
  return fail(ErrorCode::config,
              fmt::format("log.kafka: librdkafka does not take {} or its value", name),
              "the settings are librdkafka's CONFIGURATION.md");
}

// "[thrd:…]: what it says" without its first part.
std::string_view without_thread(std::string_view text) {
  const size_t end = text.find("]: ");
  return text.substr(0, 6) == "[thrd:" && end != std::string_view::npos ? text.substr(end + 3)
                                                                        : text;
}

void on_log(const rd_kafka_t* handle, int level, const char* facility, const char* text) {
  if (void* client = rd_kafka_opaque(handle))
    static_cast<Client*>(client)->note_log(level, facility, text);
}

void on_error(rd_kafka_t*, int error, const char* reason, void* client) {
  static_cast<Client*>(client)->note_error(error, reason);
}

}  // namespace

void HandleDeleter::operator()(rd_kafka_s* handle) const { rd_kafka_destroy(handle); }
void TopicDeleter::operator()(rd_kafka_topic_s* topic) const { rd_kafka_topic_destroy(topic); }
void QueueDeleter::operator()(rd_kafka_queue_s* queue) const { rd_kafka_queue_destroy(queue); }
void MessageDeleter::operator()(rd_kafka_message_s* message) const {
  rd_kafka_message_destroy(message);
}

std::string error_text(int error) {
  return rd_kafka_err2str(static_cast<rd_kafka_resp_err_t>(error));
}

Result<std::unique_ptr<Client>> Client::make(const KafkaOptions& options, Role role) {
  wait_steadily();
  std::unique_ptr<Client> client(new Client(options, role));
  std::unique_ptr<rd_kafka_conf_t, decltype(&rd_kafka_conf_destroy)> conf(rd_kafka_conf_new(),
                                                                          rd_kafka_conf_destroy);
  for (const auto& [name, value] : settings_for(options, role)) TRY(apply(conf.get(), name, value));
  for (const auto& [name, value] : options.passthrough) {
    if (std::find(kOurs.begin(), kOurs.end(), std::string_view(name)) != kOurs.end()) {
      return fail(ErrorCode::config,
                  fmt::format("log.kafka: {} can not be set: delivery and memory lean on it", name),
                  "leave it out");
    }
    TRY(apply(conf.get(), name, value));
  }
  rd_kafka_conf_set_opaque(conf.get(), client.get());
  rd_kafka_conf_set_log_cb(conf.get(), on_log);
  if (role == Role::producer) {
    rd_kafka_conf_set_events(conf.get(), RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
  } else {
    rd_kafka_conf_set_error_cb(conf.get(), on_error);
  }
  std::array<char, 512> text{};
  const auto type = role == Role::producer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER;
  client->handle_.reset(rd_kafka_new(type, conf.get(), text.data(), text.size()));
  if (!client->handle_) {
    return fail(ErrorCode::config, fmt::format("log.kafka: {}", text.data()),
                "see librdkafka's CONFIGURATION.md");
  }
  (void)conf.release();  // the handle owns it now
  return client;
}

Client::~Client() = default;

Result<TopicHandle> Client::topic(const std::string& name) {
  TopicHandle topic(rd_kafka_topic_new(get(), name.c_str(), nullptr));
  if (topic) return topic;
  return fail(ErrorCode::config,
              fmt::format("topic {}: {}", name, error_text(rd_kafka_last_error())));
}

// A producer's come as events, to whoever polls its queue.
void Client::serve_callbacks() {
  if (role_ != Role::producer) rd_kafka_poll(get(), 0);
}

std::string Client::trouble() {
  serve_callbacks();
  std::lock_guard lock(mutex_);
  return trouble_.empty() ? "no answer" : trouble_;
}

bool Client::turned_away() {
  serve_callbacks();
  return turned_away_;
}

bool Client::lost_all_brokers() {
  serve_callbacks();
  return all_down_.exchange(false);
}

void Client::note_error(int error, const char* reason) {
  const std::string text = reason != nullptr ? reason : error_text(error);
  if (error == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
      text.find("certificate verify failed") != std::string::npos)
    turned_away_ = true;
  std::lock_guard lock(mutex_);
  if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
    all_down_ = true;
    if (!trouble_.empty()) return;  // which says why they are down
  }
  trouble_ = text;
}

void Client::note_log(int level, const char* facility, const char* text) {
  const std::string_view kind = facility;
  if (kind == "CONFWARN") return;  // one set of settings serves producers and readers
  if (kind == "FAIL" || kind == "ERROR" || level <= 3) {
    std::lock_guard lock(mutex_);
    trouble_ = without_thread(text);
    const SteadyTime now = system_clock().now();
    if (now - warned_ < std::chrono::seconds(10)) return;
    warned_ = now;
    logging::warn("kafka client", {{"brokers", options_.brokers}, {"says", text}});
    return;
  }
  logging::debug("kafka client", {{"facility", facility}, {"says", text}});
}

}  // namespace millrace::log::kafka
