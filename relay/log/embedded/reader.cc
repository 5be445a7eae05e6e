#include "relay/log/embedded/reader.h"

#include <utility>

#include <fmt/format.h>

namespace millrace::log {
namespace {

tl::unexpected<Error> cancelled() {
  return fail(ErrorCode::cancelled, "reading the log was interrupted");
}

tl::unexpected<Error> gone(const std::string& topic, LogOffset wanted, const Topic* there) {
  if (there == nullptr) {
    return fail(ErrorCode::refused,
                fmt::format("topic {} does not exist in the embedded log (offset {} is wanted)",
                            topic, wanted),
                "the folder is not the one that was written; see `millrace log describe`");
  }
  return fail(ErrorCode::refused,
              fmt::format("topic {}, partition 0: offset {} is wanted, the log holds [{}, {})",
                          topic, wanted, there->start.load(), there->end.load()),
              wanted < there->start
                  ? "retention removed it: raise log.retention; start again from a fresh copy with "
                    "`millrace teardown` and `millrace setup`"
                  : "the log was replaced by another; start again from a fresh copy with `millrace "
                    "teardown` and `millrace setup`");
}

tl::unexpected<Error> damaged(const Topic& topic, LogOffset offset) {
  return fail(
      ErrorCode::corruption,
      fmt::format("topic {}, partition 0, offset {}: the block is damaged", topic.name, offset));
}

class EmbeddedCursor : public RangeCursor {
 public:
  EmbeddedCursor(Store& store, const Topic& topic, const OffsetRange& range,
                 const std::atomic<bool>& interrupted, size_t& all_held)
      : store_(store),
        topic_(topic),
        range_(range),
        interrupted_(interrupted),
        all_held_(all_held),
        next_(range.start) {}

  ~EmbeddedCursor() override { let_go(); }

  Result<std::optional<LogRecord>> next() override {
    if (std::exchange(resting_, false) && loaded_) return last_;
    while (next_ < range_.end) {
      PackedRecord packed;
      const auto step = loaded_ ? block_.next(packed) : BlockIterator::Step::end;
      if (step == BlockIterator::Step::malformed) return damaged(topic_, next_);
      if (step == BlockIterator::Step::end) {
        TRY_ASSIGN(const bool more, load());
        if (!more) break;
        continue;
      }
      const LogOffset offset = in_block_++;
      if (offset < next_) continue;  // the range begins inside the block
      next_ = offset + 1;
      if (offset >= range_.end) break;
      last_ = {offset, packed.key, packed.value};
      return last_;
    }
    return std::nullopt;
  }

  void rest() override {
    resting_ = true;
    if (!loaded_ || all_held_ <= store_.options().memory_bytes / 4) return;
    next_ = last_.offset;
    let_go();
  }

  Status prepare() override { return {}; }

 private:
  void let_go() {
    all_held_ -= held_.bytes.size();
    std::string().swap(held_.bytes);  // assigning would keep the memory
    loaded_ = false;
  }

  Result<bool> load() {
    if (interrupted_) return cancelled();
    if (loaded_) next_ = std::max(next_, held_.end);
    let_go();
    if (next_ >= range_.end) return false;
    TRY_ASSIGN(auto found, store_.block_at(topic_, next_));
    if (next_ < topic_.start) return gone(topic_.name, next_, &topic_);
    if (!found) return gone(topic_.name, next_, &topic_);
    held_ = std::move(*found);
    all_held_ += held_.bytes.size();
    block_ = BlockIterator(held_.bytes);
    in_block_ = held_.first;
    loaded_ = true;
    return true;
  }

  Store& store_;
  const Topic& topic_;
  const OffsetRange range_;
  const std::atomic<bool>& interrupted_;
  size_t& all_held_;
  LogOffset next_;
  LogRecord last_;
  bool resting_ = false;
  HeldBlock held_;
  BlockIterator block_;
  LogOffset in_block_ = 0;
  bool loaded_ = false;
};

Result<std::optional<ControlEntry>> read_control(Store& store, LogOffset offset) {
  const Topic& topic = store.control();
  TRY_ASSIGN(auto found, store.block_at(topic, offset));
  if (!found) return std::nullopt;
  PackedRecord packed;
  BlockIterator block(found->bytes);
  if (block.next(packed) != BlockIterator::Step::record) return damaged(topic, found->first);
  return ControlEntry{found->first, std::string(packed.value)};
}

}  // namespace

Result<Bounds> EmbeddedReader::control_bounds() {
  TRY(store_.refresh());
  return Bounds{store_.control().start, store_.control().end};
}

Status EmbeddedReader::seek_control(LogOffset offset) {
  TRY_ASSIGN(const Bounds bounds, control_bounds());
  if (offset < bounds.start || offset > bounds.end)
    return gone(store_.control().name, offset, &store_.control());
  next_ = offset;
  return {};
}

Result<std::optional<ControlEntry>> EmbeddedReader::next_control(Millis wait) {
  const Topic& topic = store_.control();
  if (topic.end <= next_) store_.wait_for_control(next_, wait, interrupted_);
  if (interrupted_) return cancelled();
  if (next_ < topic.start) return gone(topic.name, next_, &topic);
  if (topic.end <= next_) return std::nullopt;
  TRY_ASSIGN(auto entry, read_control(store_, next_));
  if (!entry) return gone(topic.name, next_, &topic);
  // Unlike Kafka's, offsets have no holes: a write-ahead log was lost, and later ones were not.
  if (entry->offset != next_ && next_ >= topic.start) {
    return fail(ErrorCode::corruption,
                fmt::format("topic {}, partition 0: offsets [{}, {}) are missing", topic.name,
                            next_, entry->offset));
  }
  next_ = entry->offset + 1;
  return entry;
}

Result<ControlEntry> EmbeddedReader::control_at(LogOffset offset) {
  const Topic& topic = store_.control();
  if (offset >= topic.end) TRY(store_.refresh());
  if (offset < topic.start || offset >= topic.end) return gone(topic.name, offset, &topic);
  TRY_ASSIGN(auto entry, read_control(store_, offset));
  if (!entry || entry->offset != offset) return gone(topic.name, offset, &topic);
  return *std::move(entry);
}

Result<std::unique_ptr<RangeCursor>> EmbeddedReader::open(const OffsetRange& range) {
  if (interrupted_) return cancelled();
  Topic* topic = store_.find(range.topic);
  if (topic == nullptr || topic->end < range.end) {
    TRY(store_.refresh());
    topic = store_.find(range.topic);
  }
  if (topic == nullptr) return gone(range.topic, range.start, nullptr);
  if (range.start < topic->start) return gone(range.topic, range.start, topic);
  if (range.end > topic->end) return gone(range.topic, range.end - 1, topic);
  return std::make_unique<EmbeddedCursor>(store_, *topic, range, interrupted_, held_bytes_);
}

void EmbeddedReader::interrupt() {
  interrupted_ = true;
  store_.wake_waiting();
}

}  // namespace millrace::log
