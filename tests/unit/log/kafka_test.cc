// What only the Kafka log does: settings, brokers that fail. Over the mock cluster.
#include <thread>

#include <doctest/doctest.h>
#include <threads.h>

#include "relay/log/kafka/kafka_log.h"
#include "tests/unit/log/log_fixture.h"
#include "tests/unit/log/mock_cluster.h"

using namespace millrace;
using namespace millrace::log;
using namespace millrace::log::contract;

namespace {

KafkaOptions options_for(MockCluster& cluster) {
  KafkaOptions options;
  options.brokers = cluster.brokers();
  options.manifest_topic = "manifests";
  options.replication_factor = 1;
  options.patience = Millis(500);
  cluster.create_topic("manifests", 1);
  cluster.create_topic("t", 2);
  return options;
}

// What is appended at once goes in one request: the mock brokers take a second one although they
// have turned the first away, as no real broker does.
KafkaOptions one_batch(KafkaOptions options) {
  options.passthrough["linger.ms"] = "300";
  return options;
}

OffsetRange write_one(Producer& producer, GroupId group, const std::string& value) {
  Reports reports;
  append(producer, reports, group, "t", "", value);
  must(producer.seal(group));
  reports.wait(producer, 1, 0);
  return reports.groups[group].at(0);
}

}  // namespace

TEST_CASE("open_kafka: settings that the promise leans on are refused by name") {
  for (const std::string name :
       {"enable.idempotence", "acks", "message.timeout.ms", "isolation.level", "group.id",
        "transactional.id", "retries", "bootstrap.servers", "auto.offset.reset"}) {
    KafkaOptions options;
    options.brokers = "127.0.0.1:1";
    options.manifest_topic = "m";
    options.passthrough[name] = "1";
    const auto log = open_kafka(options);
    REQUIRE(!log);
    CHECK(log.error().code() == ErrorCode::config);
    CHECK(log.error().message().find(name) != std::string::npos);
  }
}

TEST_CASE("open_kafka: an unknown setting is a config error, and a secret value is not repeated") {
  KafkaOptions options;
  options.brokers = "127.0.0.1:1";
  options.manifest_topic = "m";
  options.passthrough["sasl.pasword"] = "hunter2";
  const auto log = open_kafka(options);
  REQUIRE(!log);
  CHECK(log.error().code() == ErrorCode::config);
  CHECK(log.error().describe().find("sasl.pasword") != std::string::npos);
  CHECK(log.error().describe().find("hunter2") == std::string::npos);
}

TEST_CASE("open_kafka: other settings go through") {
  MockCluster cluster;
  KafkaOptions options = options_for(cluster);
  options.passthrough = {{"compression.type", "zstd"}, {"linger.ms", "1"}};
  auto log = must(open_kafka(options));
  CHECK(log->describe() == "kafka " + options.brokers);
  auto producer = must(log->producer());
  write_one(*producer, 1, "v");
}

TEST_CASE("Producer: nothing is sent to a partition that its leader does not serve yet") {
  MockCluster cluster;
  auto log = must(open_kafka(options_for(cluster)));
  auto producer = must(log->producer());
  for (int i = 0; i < 1000; i++) {
    rd_kafka_mock_push_request_errors(cluster.get(), 2 /* ListOffsets */, 1,
                                      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
  }
  const auto queued = producer->append(1, "t", "k", "v");
  REQUIRE(!queued);
  CHECK(queued.error().code() == ErrorCode::retryable);
  rd_kafka_mock_clear_request_errors(cluster.get(), 2);
  producer = must(log->producer());
  write_one(*producer, 1, "v");
}

TEST_CASE("Reader: a topic that a broker does not know is asked for again, not given up") {
  MockCluster cluster;
  auto log = must(open_kafka(options_for(cluster)));
  auto producer = must(log->producer());
  append_control(*producer, "m");
  auto reader = must(log->reader());
  for (int i = 0; i < 1000; i++) {
    rd_kafka_mock_push_request_errors(cluster.get(), 2 /* ListOffsets */, 1,
                                      RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  }
  const auto bounds = reader->control_bounds();
  REQUIRE(!bounds);
  CHECK(bounds.error().code() == ErrorCode::retryable);
  CHECK(bounds.error().message().find("does not exist on kafka") != std::string::npos);
  rd_kafka_mock_clear_request_errors(cluster.get(), 2);
  CHECK(must(reader->control_bounds()).end == 1);
}

TEST_CASE("ensure_topics: a topic that no broker knows is looked for again before it is missed") {
  MockCluster cluster;
  auto log = must(open_kafka(options_for(cluster)));
  cluster.set_topic_error("t", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  std::thread broker([&] {  // it loads its topics
    std::this_thread::sleep_for(Millis(500));
    cluster.set_topic_error("t", RD_KAFKA_RESP_ERR_NO_ERROR);
  });
  const auto found = log->ensure_topics({{"t", 2}}, false);
  broker.join();
  REQUIRE(!found);  // the next question, for their settings, is one that mock brokers do not answer
  CHECK(found.error().code() == ErrorCode::retryable);
  CHECK(found.error().message().find("describe topics") != std::string::npos);
}

TEST_CASE("Producer: passing broker errors are retried, in order, without a gap or a duplicate") {
  MockCluster cluster;
  auto log = must(open_kafka(one_batch(options_for(cluster))));
  auto producer = must(log->producer());
  write_one(*producer, 1, "first");
  rd_kafka_mock_push_request_errors(
      cluster.get(), 0 /* Produce */, 3, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
      RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT);
  Reports reports;
  for (int i = 0; i < 500; i++) append(*producer, reports, 2, "t", "", std::to_string(i));
  must(producer->seal(2));
  reports.wait(*producer, 1, 0);
  auto reader = must(log->reader());
  const Rows rows = read(*reader, reports.groups[2].at(0));
  REQUIRE(rows.records.size() == 500);
  for (size_t i = 0; i < 500; i++) CHECK(rows.records[i].second == std::to_string(i));
}

TEST_CASE("Producer, Reader: leaders that move lose nothing, double nothing and keep the order") {
  MockCluster cluster(3);
  KafkaOptions options = one_batch(options_for(cluster));
  auto log = must(open_kafka(options));
  auto producer = must(log->producer());
  auto reader = must(log->reader());
  Reports reports;
  for (GroupId group = 1; group <= 12; ++group) {
    for (int i = 0; i < 100; i++) append(*producer, reports, group, "t", "", std::to_string(i));
    must(producer->seal(group));
    // Also while records are on their way.
    const int broker = 1 + static_cast<int>(group % 3);
    cluster.move_leader("t", 0, broker);
    reports.wait(*producer, group, 0);
    const Rows rows = read(*reader, reports.groups[group].at(0));
    REQUIRE(rows.records.size() == 100);
    for (size_t i = 0; i < 100; i++) CHECK(rows.records[i].second == std::to_string(i));
  }
}

TEST_CASE("Producer: too few replicas are waited for, however long") {
  MockCluster cluster;
  auto log = must(open_kafka(one_batch(options_for(cluster))));
  auto producer = must(log->producer());
  write_one(*producer, 1, "first");
  std::vector<rd_kafka_resp_err_t> errors(60, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
  for (size_t i = 1; i < errors.size(); i += 2) {
    errors[i] = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND;
  }
  rd_kafka_mock_push_request_errors_array(cluster.get(), 0 /* Produce */, errors.size(),
                                          errors.data());
  Reports reports;
  for (int i = 0; i < 50; i++) append(*producer, reports, 2, "t", "", std::to_string(i));
  must(producer->seal(2));
  CHECK(must(producer->poll(Millis(600))).empty());
  reports.wait(*producer, 1, 0);
  auto reader = must(log->reader());
  const Rows rows = read(*reader, reports.groups[2].at(0));
  REQUIRE(rows.records.size() == 50);
  for (size_t i = 0; i < 50; i++) CHECK(rows.records[i].second == std::to_string(i));
}

TEST_CASE("Producer: a right that is missing kills it, and is named") {
  MockCluster cluster;
  auto log = must(open_kafka(options_for(cluster)));
  auto producer = must(log->producer());
  write_one(*producer, 1, "first");
  rd_kafka_mock_push_request_errors(cluster.get(), 0, 1,
                                    RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  Reports reports;
  append(*producer, reports, 2, "t", "", "v");
  must(producer->seal(2));
  std::optional<Error> error;
  for (int i = 0; i < 1000 && !error; i++) {
    auto events = producer->poll(Millis(100));
    if (!events) error = events.error();
    if (events) CHECK(events->empty());
  }
  REQUIRE(error);
  CHECK(error->code() == ErrorCode::retryable);
  CHECK(error->message().find("topic t: the right Write is missing") != std::string::npos);
  CHECK(error->hint().find("--operation Write --topic t") != std::string::npos);
  CHECK(!producer->append(3, "t", "", "v"));
  CHECK(!producer->append_control(1, "v"));
  auto next = must(log->producer());
  write_one(*next, 1, "after");
}

TEST_CASE("Reader: passing fetch errors do not disturb a range") {
  MockCluster cluster;
  auto log = must(open_kafka(options_for(cluster)));
  auto producer = must(log->producer());
  Reports reports;
  for (int i = 0; i < 500; i++) append(*producer, reports, 1, "t", "", std::to_string(i));
  must(producer->seal(1));
  reports.wait(*producer, 1, 0);
  rd_kafka_mock_push_request_errors(cluster.get(), 1 /* Fetch */, 2,
                                    RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                    RD_KAFKA_RESP_ERR__TRANSPORT);
  auto reader = must(log->reader());
  CHECK(read(*reader, reports.groups[1].at(0)).records.size() == 500);
}

TEST_CASE(
    "Reader: a broker that is away is a retryable error of the tail, which goes on when it is "
    "back") {
  MockCluster cluster;
  auto log = must(open_kafka(options_for(cluster)));
  auto producer = must(log->producer());
  append_control(*producer, "one");
  auto reader = must(log->reader());
  must(reader->seek_control(0));
  CHECK(must(reader->next_control(Millis(60'000)))->value == "one");
  rd_kafka_mock_broker_set_down(cluster.get(), 1);
  std::optional<Error> error;
  for (int i = 0; i < 1000 && !error; i++) {
    const auto entry = reader->next_control(Millis(100));
    if (!entry) error = entry.error();
  }
  REQUIRE(error);
  CHECK(error->code() == ErrorCode::retryable);
  CHECK(error->message().find("kafka 127.0.0.1") != std::string::npos);
  rd_kafka_mock_broker_set_up(cluster.get(), 1);
  append_control(*producer, "two");
  std::optional<ControlEntry> entry;
  for (int i = 0; i < 1000 && !entry; i++) {
    auto next = reader->next_control(Millis(200));
    if (next) entry = *next;
  }
  REQUIRE(entry);
  CHECK(entry->value == "two");
}

TEST_CASE("Producer: records wait for a broker that is away, and poll returns in time") {
  MockCluster cluster;
  auto log = must(open_kafka(options_for(cluster)));
  auto producer = must(log->producer());
  write_one(*producer, 1, "v");
  rd_kafka_mock_broker_set_down(cluster.get(), 1);
  Reports reports;
  append(*producer, reports, 2, "t", "", "v");
  must(producer->seal(2));
  const SteadyTime start = system_clock().now();
  CHECK(must(producer->poll(Millis(600))).empty());
  CHECK(system_clock().now() - start < Millis(30'000));
  rd_kafka_mock_broker_set_up(cluster.get(), 1);
  reports.wait(*producer, 1, 0);
}

// librdkafka's main thread waits for its next timer in whole milliseconds, cut down, and spins
// until it is due: a millisecond of CPU a second for each client at rest.
TEST_CASE("cnd_timedwait: a long wait lasts until the timer that it was cut down from is due") {
  mtx_t mutex;
  cnd_t condition;
  REQUIRE(mtx_init(&mutex, mtx_plain) == thrd_success);
  REQUIRE(cnd_init(&condition) == thrd_success);
  REQUIRE(mtx_lock(&mutex) == thrd_success);
  const SteadyTime start = system_clock().now();
  timespec until{};
  timespec_get(&until, TIME_UTC);
  until.tv_nsec += 30'000'000;
  if (until.tv_nsec >= 1'000'000'000) {
    until.tv_sec++;
    until.tv_nsec -= 1'000'000'000;
  }
  CHECK(cnd_timedwait(&condition, &mutex, &until) == thrd_timedout);
  CHECK(system_clock().now() - start >= std::chrono::microseconds(30'900));
  mtx_unlock(&mutex);
  cnd_destroy(&condition);
  mtx_destroy(&mutex);
}
