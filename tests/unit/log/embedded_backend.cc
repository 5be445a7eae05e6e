// The contract's backend over the embedded log, in a folder of its own.
#include <filesystem>

#include <doctest/doctest.h>

#include "relay/log/embedded/embedded_log.h"
#include "tests/unit/log/contract.h"
#include "tests/unit/log/log_fixture.h"
#include "tests/unit/log/temp_folder.h"

namespace millrace::log::contract {
namespace {

class EmbeddedBackend : public Backend {
 public:
  explicit EmbeddedBackend(const Needs& needs) {
    options_.path = folder_.path() / "log";
    options_.manifest_topic = "manifests";
    // An eighth of it is the producer's queue.
    options_.memory_bytes = needs.memory_bytes * 4;
    options_.max_record_bytes = needs.max_record_bytes;
    reopen();
  }
  Log& log() override { return *log_; }
  std::string manifest_topic() const override { return options_.manifest_topic; }
  std::string topic(int) override {
    const std::string name = "topic" + std::to_string(++topics_);
    must(log_->ensure_topics({{name, 1}}, true));
    return name;
  }
  void reopen() override {
    log_.reset();
    log_ = must(open_embedded(options_));
  }
  int partitions_most() const override { return 1; }
  bool manages_topics() const override { return true; }

 private:
  TempFolder folder_;
  EmbeddedOptions options_;
  std::unique_ptr<Log> log_;
  int topics_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_backend(const Needs& needs) {
  return std::make_unique<EmbeddedBackend>(needs);
}

}  // namespace millrace::log::contract
