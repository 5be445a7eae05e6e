// Reads the manifest topic's tail and ranges of data partitions, over two connections: a fetch that
// waits for the next manifest must not delay rows.
//
// Thread: one; interrupt() from any.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "relay/log/kafka/feed_pool.h"

namespace millrace::log::kafka {

class KafkaReader : public Reader {
 public:
  static Result<std::unique_ptr<Reader>> make(const KafkaOptions& options);

  Result<Bounds> control_bounds() override;
  Status seek_control(LogOffset offset) override;
  Result<std::optional<ControlEntry>> next_control(Millis wait) override;
  Result<ControlEntry> control_at(LogOffset offset) override;
  Result<std::unique_ptr<RangeCursor>> open(const OffsetRange& range) override;
  void interrupt() override { interrupted_ = true; }

 private:
  KafkaReader(std::unique_ptr<Client> control, std::unique_ptr<Client> data);

  const std::string manifest_topic_;
  std::unique_ptr<Client> control_client_;
  std::unique_ptr<Client> data_client_;
  Nudger control_nudger_;
  Feed control_;
  FeedPool data_;
  std::atomic<bool> interrupted_{
      false};  // for good: a reader that was interrupted is on its way out
};

}  // namespace millrace::log::kafka
