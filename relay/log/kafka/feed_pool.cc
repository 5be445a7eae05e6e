#include "relay/log/kafka/feed_pool.h"

#include <algorithm>
#include <vector>

#include "relay/log/kafka/read_ahead.h"

namespace millrace::log::kafka {
namespace {

// After this, a data partition is not read ahead any more: one at whose end the reader stands, and
// one with records that nobody has asked for (a transaction in the target may take seconds).
constexpr Millis kIdle{100};
constexpr Millis kIdleWithMore{10'000};
constexpr Millis kSeldom{50};  // between two ranges of a partition
constexpr size_t kFeedsMost = 1024;
constexpr uint32_t kCallsBetweenLooks = 16;

}  // namespace

std::shared_ptr<Feed> FeedPool::feed(const std::string& topic, int32_t partition) {
  look_sometimes();
  auto found = feeds_.find({topic, partition});
  if (found == feeds_.end()) {
    Entry entry{std::make_shared<Feed>(client_, nudger_, topic, partition), {}, {}};
    found = feeds_.emplace(std::make_pair(topic, partition), std::move(entry)).first;
  }
  found->second.used_before = found->second.used;
  found->second.used = system_clock().now();
  return found->second.feed;
}

void FeedPool::rest(const std::string& topic, int32_t partition, Resting& cursor) {
  look_sometimes();
  const auto found = feeds_.find({topic, partition});
  if (found == feeds_.end()) return;
  found->second.used = system_clock().now();
  found->second.resting = &cursor;
  const size_t bytes = cursor.held_bytes();
  if (bytes >= room_) return stop(found);
  room_ -= bytes;
}

void FeedPool::wake(const std::string& topic, int32_t partition) {
  const auto found = feeds_.find({topic, partition});
  if (found != feeds_.end()) found->second.resting = nullptr;
}

void FeedPool::stop(Feeds::iterator at) {
  if (at->second.resting == nullptr) {
    feeds_.erase(at);
    return;
  }
  std::exchange(at->second.resting, nullptr)->let_go();
}

void FeedPool::look_sometimes() {
  if (calls_++ % kCallsBetweenLooks == 0) make_room();
}

// Only what no cursor reads from: a group is merged from all its partitions at once. Those that
// were just read go first: a stream that goes round its tables comes back to them last, and those
// that nobody comes back to are stopped by their age.
void FeedPool::make_room() {
  struct Candidate {
    SteadyTime used;
    size_t bytes;
    Feeds::iterator at;
  };
  std::vector<Candidate> candidates;
  size_t running = 0;
  size_t bytes = 0;
  for (auto it = feeds_.begin(); it != feeds_.end(); ++it) {
    const Entry& entry = it->second;
    const size_t held =
        entry.resting != nullptr ? entry.resting->held_bytes() : entry.feed->queued_bytes();
    bytes += held;
    if (!entry.feed->running()) continue;
    running++;
    if (entry.feed.use_count() == 1 || entry.resting != nullptr)
      candidates.push_back({entry.used, held, it});
  }
  const size_t most = read_ahead_most(client_.options().memory_bytes, client_.options().partitions);
  if (running >= kFeedsMost || bytes > most) {
    std::sort(candidates.begin(), candidates.end(),
              [](const Candidate& a, const Candidate& b) { return a.used > b.used; });
  }
  for (const Candidate& candidate : candidates) {
    if (running < kFeedsMost && bytes <= most) break;
    if (running < kFeedsMost && candidate.bytes == 0) continue;
    stop(candidate.at);
    running--;
    bytes -= candidate.bytes;
  }
  room_ = most - std::min(most, bytes);
}

void FeedPool::done(const std::string& topic, int32_t partition) {
  const auto found = feeds_.find({topic, partition});
  if (found == feeds_.end()) return;
  found->second.resting = nullptr;
  if (!found->second.feed->running() || found->second.feed->more_is_there()) return;
  if (found->second.used - found->second.used_before > kSeldom) found->second.feed->stop();
}

void FeedPool::stop_idle() {
  if (feeds_.empty()) return;
  const SteadyTime now = system_clock().now();
  for (auto it = feeds_.begin(); it != feeds_.end();) {
    const Entry& entry = it->second;
    const auto idle = now - entry.used;
    // Of the manifests single ones are read here: the others are nobody's who asks this pool.
    const bool rows = it->first.first != client_.options().manifest_topic;
    const bool reads_on = idle < kIdleWithMore && entry.feed->running() &&
                          (idle < kIdle || (rows && entry.feed->more_is_there()));
    if (reads_on || entry.feed.use_count() > 1) {
      ++it;
      continue;
    }
    it = feeds_.erase(it);
  }
}

}  // namespace millrace::log::kafka
