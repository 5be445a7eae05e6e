#include "relay/log/embedded/writer.h"

#include <algorithm>

#include <rocksdb/write_batch.h>

#include "relay/base/failpoint.h"
#include "relay/base/logging.h"
#include "relay/base/thread_name.h"
#include "relay/log/embedded/retention.h"

namespace millrace::log {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;  // of one RocksDB write

void note_range(Channel& channel, const WriteItem& item) {
  auto& ranges = channel.groups[item.group];
  auto range = std::find_if(ranges.begin(), ranges.end(),
                            [&](const OffsetRange& r) { return r.topic == item.topic->name; });
  if (range == ranges.end()) {
    ranges.push_back({item.topic->name, 0, item.offset, item.offset, 0});
    range = ranges.end() - 1;
  }
  range->end = item.offset + item.records;
  range->rows += item.records;
}

}  // namespace

Writer::Writer(Store& store) : store_(store), thread_([this] { run(); }) {}

Writer::~Writer() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_one();
  thread_.join();
}

void Writer::submit(WriteItem item) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(item));
  }
  work_.notify_one();
}

void Writer::run() {
  name_this_thread("log writer");
  std::vector<WriteItem> items;
  SteadyTime next_check = system_clock().now() + store_.options().retention_check;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      work_.wait_until(lock, next_check, [&] { return stop_ || !queue_.empty(); });
      if (stop_) return;
      items.swap(queue_);
    }
    if (!items.empty()) write_all(items);
    items.clear();
    if (system_clock().now() < next_check) continue;
    if (auto done = apply_retention(store_, static_cast<uint64_t>(system_clock().wall().value));
        !done) {
      logging::warn("embedded log: retention failed", {{"error", done.error().describe()}});
    }
    next_check = system_clock().now() + store_.options().retention_check;
  }
}

// Chunks bound the memory of a batch; the last one is synced when any of them holds a control
// record.
void Writer::write_all(std::vector<WriteItem>& items) {
  bool control = false;
  size_t reported = 0;
  for (size_t from = 0; from < items.size();) {
    size_t bytes = 0;
    size_t to = from;
    while (to < items.size() && (to == from || bytes < kChunkBytes)) {
      bytes += items[to].bytes.size();
      control |= items[to].kind == WriteItem::Kind::control;
      to++;
    }
    const bool last = to == items.size();
    if (auto done = write_chunk(items, from, to, last && control); !done) {
      fail_channels(items, reported, done.error());
      return;
    }
    from = to;
    // Events keep the order of the items; those before a control record need not wait for its sync.
    if (!control || last) {
      report(items, reported, to);
      reported = to;
    }
  }
}

Status Writer::write_chunk(std::vector<WriteItem>& items, size_t from, size_t to, bool sync) {
  // Before an offset is given out: what is refused here must not leave a hole.
  TRY(store_.check_room());
  MILLRACE_FAILPOINT(log_write);
  rocksdb::WriteBatch batch;
  for (size_t i = from; i < to; i++) {
    WriteItem& item = items[i];
    if (item.kind == WriteItem::Kind::seal || item.channel->closed) continue;
    item.offset = item.topic->next;
    add_mark(batch, *item.topic, item.bytes.size());
    batch.Put(block_key(item.topic->id, item.offset), item.bytes);
    // Never moved back here: what a failed write left is for Store::recover to find out.
    item.topic->next += item.records;
    if (item.kind == WriteItem::Kind::block) note_range(*item.channel, item);
  }
  if (batch.Count() > 0) {
    TRY(store_.write(batch, sync));
  } else if (sync) {
    TRY(store_.sync());
  }
  MILLRACE_FAILPOINT(log_written);
  for (size_t i = from; i < to; i++) {
    Topic* topic = items[i].topic;
    if (topic != nullptr && topic != &store_.control()) topic->end = topic->next;
  }
  return {};
}

void Writer::add_mark(rocksdb::WriteBatch& batch, Topic& topic, size_t bytes) {
  const EmbeddedOptions& options = store_.options();
  const auto now = static_cast<uint64_t>(system_clock().wall().value);
  const uint64_t every_micros = std::clamp<uint64_t>(
      static_cast<uint64_t>(options.retention.count()) * 1000 / 50, 1000, 600'000'000);
  const uint64_t every_bytes =
      options.retention_bytes == 0
          ? 64 << 20
          : std::clamp<uint64_t>(options.retention_bytes / 64, 64 << 10, 64 << 20);
  const bool due = topic.marks.empty() || topic.bytes - topic.marks.back().bytes >= every_bytes ||
                   now >= topic.marks.back().micros + every_micros;
  if (due) {
    topic.marks.push_back({topic.next, now, topic.bytes});
    batch.Put(mark_key(topic.id, topic.next), encode_u64(now) + encode_u64(topic.bytes));
  }
  topic.bytes += bytes;
}

void Writer::report(std::vector<WriteItem>& items, size_t from, size_t to) {
  // Readable first: whoever is told that a record is durable may seek behind it at once.
  LogOffset control_end = -1;
  for (size_t i = from; i < to; i++) {
    const bool written = items[i].kind == WriteItem::Kind::control && items[i].offset >= 0;
    if (written) control_end = items[i].offset + 1;
  }
  if (control_end >= 0) store_.control_synced(control_end);
  for (size_t i = from; i < to; i++) {
    WriteItem& item = items[i];
    Channel& channel = *item.channel;
    if (channel.closed) continue;
    {
      std::lock_guard lock(channel.mutex);
      if (item.kind == WriteItem::Kind::seal) {
        auto ranges = channel.groups.extract(item.group);
        GroupDurable durable{item.group, {}};
        if (!ranges.empty()) durable.ranges = std::move(ranges.mapped());
        channel.events.emplace_back(std::move(durable));
      } else if (item.kind == WriteItem::Kind::control) {
        channel.events.emplace_back(ControlDurable{item.ticket, item.offset});
      }
      channel.queued_bytes -= item.bytes.size();
    }
    channel.changed.notify_one();
  }
}

void Writer::fail_channels(std::vector<WriteItem>& items, size_t from, const Error& error) {
  for (size_t i = from; i < items.size(); i++) {
    Channel& channel = *items[i].channel;
    if (channel.closed.exchange(true)) continue;
    {
      std::lock_guard lock(channel.mutex);
      channel.error = error;
    }
    channel.changed.notify_one();
  }
}

}  // namespace millrace::log
