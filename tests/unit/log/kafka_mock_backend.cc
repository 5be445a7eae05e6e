// The contract's backend over the Kafka log and the mock cluster.
#include <doctest/doctest.h>

#include "relay/log/kafka/kafka_log.h"
#include "tests/unit/log/contract.h"
#include "tests/unit/log/log_fixture.h"
#include "tests/unit/log/mock_cluster.h"

namespace millrace::log::contract {
namespace {

class KafkaMockBackend : public Backend {
 public:
  explicit KafkaMockBackend(const Needs& needs) {
    options_.brokers = cluster_.brokers();
    options_.manifest_topic = "manifests";
    options_.replication_factor = 1;
    options_.memory_bytes = needs.memory_bytes;
    options_.max_record_bytes = needs.max_record_bytes;
    options_.patience = Millis(500);
    cluster_.create_topic(options_.manifest_topic, 1);
    reopen();
  }
  Log& log() override { return *log_; }
  std::string manifest_topic() const override { return options_.manifest_topic; }
  std::string topic(int partitions) override {
    const std::string name = "topic" + std::to_string(++topics_);
    cluster_.create_topic(name, partitions);
    return name;
  }
  void reopen() override {
    log_.reset();
    log_ = must(open_kafka(options_));
  }
  int partitions_most() const override { return 3; }
  bool manages_topics() const override { return false; }

 private:
  MockCluster cluster_;
  KafkaOptions options_;
  std::unique_ptr<Log> log_;
  int topics_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_backend(const Needs& needs) {
  return std::make_unique<KafkaMockBackend>(needs);
}

}  // namespace millrace::log::contract
