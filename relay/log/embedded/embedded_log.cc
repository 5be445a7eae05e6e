#include "relay/log/embedded/embedded_log.h"

#include <fmt/format.h>

#include "relay/log/embedded/producer.h"
#include "relay/log/embedded/reader.h"
#include "relay/log/embedded/writer.h"

namespace millrace::log {
namespace {

void raise(std::atomic<LogOffset>& place, LogOffset to) {
  LogOffset now = place;
  while (now < to && !place.compare_exchange_weak(now, to)) {
  }
}

class EmbeddedLog : public Log {
 public:
  explicit EmbeddedLog(std::unique_ptr<Store> store) : store_(std::move(store)) {
    if (!store_->options().observer) writer_ = std::make_unique<Writer>(*store_);
  }

  Status ensure_topics(const std::vector<TopicSpec>& topics, bool create) override {
    if (!create) {
      for (const TopicSpec& topic : topics) {
        if (store_->find(topic.name) != nullptr) continue;
        return fail(ErrorCode::config,
                    fmt::format("topic {} does not exist in the {}", topic.name, describe()),
                    "run `millrace setup`");
      }
      return {};
    }
    TRY(not_observer());
    TRY(store_->make_control());
    for (const TopicSpec& topic : topics) TRY(store_->find_or_create(topic.name));
    return {};
  }

  Status remove_topics(const std::vector<TopicSpec>& topics) override {
    TRY(not_observer());
    for (const TopicSpec& topic : topics) TRY(store_->remove(topic.name));
    return {};
  }

  Result<std::unique_ptr<Producer>> producer() override {
    TRY(not_observer());
    TRY(store_->recover());
    return std::make_unique<EmbeddedProducer>(*store_, *writer_);
  }

  Result<std::unique_ptr<Reader>> reader() override {
    return std::make_unique<EmbeddedReader>(*store_);
  }

  void release_before(LogOffset control_offset, const std::vector<OffsetRange>& ranges) override {
    raise(store_->control().released, control_offset);
    for (const OffsetRange& range : ranges) {
      if (Topic* topic = store_->find(range.topic)) raise(topic->released, range.start);
    }
  }

  std::string describe() const override { return "embedded " + store_->options().path; }

 private:
  Status not_observer() const {
    if (!store_->options().observer) return {};
    return fail(ErrorCode::refused,
                fmt::format("the {} is open for reading beside its owner only", describe()));
  }

  std::unique_ptr<Store> store_;
  std::unique_ptr<Writer> writer_;  // ends before the store
};

}  // namespace

Result<std::unique_ptr<Log>> open_embedded(const EmbeddedOptions& options) {
  TRY_ASSIGN(std::unique_ptr<Store> store, Store::open(options));
  return std::make_unique<EmbeddedLog>(std::move(store));
}

}  // namespace millrace::log
