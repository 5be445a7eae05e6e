#include "relay/log/embedded/retention.h"

#include <map>

#include <rocksdb/write_batch.h>

namespace millrace::log {
namespace {

constexpr int kStepsMost = 1000;  // of one call: bounded work in the writer's thread

// Whether the stretch up to the second mark may go at all.
bool removable(const Topic& topic) {
  return topic.marks.size() > 1 && topic.marks[1].offset <= topic.released;
}

uint64_t kept_bytes(const Topic& topic) {
  return topic.marks.empty() ? 0 : topic.bytes - topic.marks.front().bytes;
}

Topic* oldest_removable(const std::vector<Topic*>& topics) {
  Topic* oldest = nullptr;
  for (Topic* topic : topics) {
    if (!removable(*topic)) continue;
    if (oldest == nullptr || topic->marks[1].micros < oldest->marks[1].micros) oldest = topic;
  }
  return oldest;
}

Status remove_before(Store& store, Topic& topic, LogOffset start) {
  rocksdb::WriteBatch batch;
  batch.Put(floor_key(topic.id), encode_u64(static_cast<uint64_t>(start)));
  batch.DeleteRange(block_key(topic.id, 0), block_key(topic.id, start));
  batch.DeleteRange(mark_key(topic.id, 0), mark_key(topic.id, start));
  topic.start = start;
  return store.write(batch, false);
}

}  // namespace

Status apply_retention(Store& store, uint64_t now_micros) {
  const EmbeddedOptions& options = store.options();
  const auto keep_micros = static_cast<uint64_t>(options.retention.count()) * 1000;
  const uint64_t cutoff = now_micros > keep_micros ? now_micros - keep_micros : 0;
  const std::vector<Topic*> topics = store.topics();
  uint64_t total = 0;
  for (const Topic* topic : topics) total += kept_bytes(*topic);

  std::map<Topic*, LogOffset> starts;
  for (int step = 0; step < kStepsMost; step++) {
    Topic* topic = oldest_removable(topics);
    if (topic == nullptr) break;
    const bool too_old = topic->marks[1].micros <= cutoff;
    const bool too_much = options.retention_bytes > 0 && total > options.retention_bytes;
    if (!too_old && !too_much) break;
    total -= topic->marks[1].bytes - topic->marks[0].bytes;
    topic->marks.pop_front();
    starts[topic] = topic->marks.front().offset;
  }
  for (const auto& [topic, start] : starts) TRY(remove_before(store, *topic, start));
  return {};
}

}  // namespace millrace::log
