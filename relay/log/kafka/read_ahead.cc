#include "relay/log/kafka/read_ahead.h"

#include <algorithm>

namespace millrace::log::kafka {
namespace {

constexpr size_t kLeastFetchBytes = 2 << 10;  // a batch of a few rows
constexpr size_t kPartitionBytes = 8 << 10;   // of a producer and a reader that know it
constexpr size_t kLeastBytes = 1000;          // that librdkafka takes for message.max.bytes

}  // namespace

ReadAhead read_ahead(size_t memory_bytes, size_t partitions) {
  const size_t share = memory_bytes / 2 / std::max<size_t>(partitions, 1);
  ReadAhead ahead;
  ahead.fetch_bytes = std::clamp<size_t>(memory_bytes / 1024, 32 << 10, 1 << 20);
  ahead.fetch_bytes = std::min(ahead.fetch_bytes, std::max(share / 16, kLeastFetchBytes));
  ahead.queue_bytes = std::clamp<size_t>(share / 2, 1024, 8 * ahead.fetch_bytes);
  ahead.messages = std::clamp<size_t>(share / kQueuedMessageBytes, 1, ahead.queue_bytes / 128);
  ahead.batch_bytes = std::clamp(share / 16, kLeastBytes, 4 * ahead.fetch_bytes);
  return ahead;
}

size_t read_ahead_most(size_t memory_bytes, size_t partitions) {
  const size_t most = memory_bytes * 3 / 2;
  return std::max(memory_bytes / 2, most - std::min(most, partitions * kPartitionBytes));
}

}  // namespace millrace::log::kafka
