// The contract's backend over a real broker: MILLRACE_TEST_BROKERS, set by with_kafka.sh.
#include <cstdlib>

#include <doctest/doctest.h>
#include <unistd.h>

#include "relay/log/kafka/kafka_log.h"
#include "tests/unit/log/contract.h"
#include "tests/unit/log/log_fixture.h"

namespace millrace::log::contract {
namespace {

class KafkaBackend : public Backend {
 public:
  explicit KafkaBackend(const Needs& needs) {
    static int logs = 0;
    const char* brokers = getenv("MILLRACE_TEST_BROKERS");
    if (brokers == nullptr)
      FAIL("MILLRACE_TEST_BROKERS is not set: run this through tests/support/with_kafka.sh");
    name_ = "log" + std::to_string(getpid()) + "_" + std::to_string(++logs);
    options_.brokers = brokers;
    options_.manifest_topic = name_ + ".manifests";
    options_.replication_factor = 1;
    options_.memory_bytes = needs.memory_bytes;
    options_.max_record_bytes = needs.max_record_bytes;
    options_.patience = Millis(1000);
    reopen();
    must(log_->ensure_topics({}, true));
  }
  Log& log() override { return *log_; }
  std::string manifest_topic() const override { return options_.manifest_topic; }
  std::string topic(int partitions) override {
    const std::string name = name_ + ".t" + std::to_string(++topics_);
    must(log_->ensure_topics({{name, partitions}}, true));
    return name;
  }
  void reopen() override {
    log_.reset();
    log_ = must(open_kafka(options_));
  }
  int partitions_most() const override { return 3; }
  bool manages_topics() const override { return true; }

 private:
  std::string name_;
  KafkaOptions options_;
  std::unique_ptr<Log> log_;
  int topics_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_backend(const Needs& needs) {
  return std::make_unique<KafkaBackend>(needs);
}

}  // namespace millrace::log::contract
