#include "relay/log/kafka/kafka_log.h"

#include <atomic>

#include "relay/log/kafka/admin.h"
#include "relay/log/kafka/producer.h"
#include "relay/log/kafka/reader.h"

namespace millrace::log {
namespace {

class KafkaLog : public Log {
 public:
  KafkaLog(const KafkaOptions& options, std::unique_ptr<kafka::Client> admin)
      : options_(options), admin_(std::move(admin)) {}

  Status ensure_topics(const std::vector<TopicSpec>& topics, bool create) override {
    std::vector<TopicSpec> all = {{options_.manifest_topic, 1}};
    all.insert(all.end(), topics.begin(), topics.end());
    size_t partitions = 0;
    for (const TopicSpec& topic : topics) partitions += static_cast<size_t>(topic.partitions);
    partitions_ = partitions;
    if (create) TRY(kafka::create_topics(*admin_, all));
    return kafka::check_topics(*admin_, all, create);
  }

  Status remove_topics(const std::vector<TopicSpec>& topics) override {
    return kafka::delete_topics(*admin_, topics);
  }

  Result<std::unique_ptr<Producer>> producer() override {
    return kafka::KafkaProducer::make(options_);
  }
  Result<std::unique_ptr<Reader>> reader() override {
    KafkaOptions options = options_;
    options.partitions = partitions_;
    return kafka::KafkaReader::make(options);
  }
  void release_before(LogOffset, const std::vector<OffsetRange>&) override {}
  std::string describe() const override { return "kafka " + options_.brokers; }

 private:
  const KafkaOptions options_;
  std::atomic<size_t> partitions_{0};  // that ensure_topics() was told of
  std::unique_ptr<kafka::Client> admin_;
};

}  // namespace

Result<std::unique_ptr<Log>> open_kafka(const KafkaOptions& options) {
  // The other two roles are tried as well: a setting that they refuse must fail here and not at run
  // time.
  TRY(kafka::Client::make(options, kafka::Role::producer));
  TRY(kafka::Client::make(options, kafka::Role::data_reader));
  TRY_ASSIGN(std::unique_ptr<kafka::Client> admin,
             kafka::Client::make(options, kafka::Role::admin));
  return std::make_unique<KafkaLog>(options, std::move(admin));
}

}  // namespace millrace::log
