// Packs the records of a group into blocks and hands them to the writer's thread.
//
// Invariant: nothing here waits for the disk; a full budget is answered with false.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "relay/log/embedded/writer.h"

namespace millrace::log {

class EmbeddedProducer : public Producer {
 public:
  EmbeddedProducer(Store& store, Writer& writer);
  ~EmbeddedProducer() override;

  Result<bool> append(GroupId group, const std::string& topic, std::string_view key,
                      std::string_view value) override;
  Status seal(GroupId group) override;
  Status append_control(uint64_t ticket, std::string_view value) override;
  Result<std::vector<ProducerEvent>> poll(Millis wait) override;
  size_t queued_bytes() const override { return channel_->queued_bytes; }

 private:
  struct OpenBlock {
    Topic* topic = nullptr;
    BlockBuilder builder;
  };

  Status check_alive();
  Result<OpenBlock*> open_block(const std::string& topic);
  void hand_over(OpenBlock& block);
  void hand_over_all();

  Store& store_;
  Writer& writer_;
  const size_t budget_bytes_;
  std::shared_ptr<Channel> channel_;
  std::map<std::string, OpenBlock> open_;
  std::string last_topic_;
  OpenBlock* last_block_ = nullptr;
  GroupId group_ = 0;
  size_t open_bytes_ = 0;
  bool starved_ = false;  // the last append found no room
};

}  // namespace millrace::log
