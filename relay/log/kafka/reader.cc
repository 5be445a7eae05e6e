#include "relay/log/kafka/reader.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>

#include "relay/base/logging.h"
#include "relay/log/kafka/admin.h"

namespace millrace::log::kafka {
namespace {

constexpr Millis kBrokerWait{3000};  // a stop must not wait longer for a broker that is away
constexpr Millis kSlice{50};         // of a wait, so that interrupt() is noticed
constexpr size_t kCopiedMost =
    4096;  // bytes of a record that rests; larger ones stay in their message
constexpr LogOffset kSkipMost = 4096;  // records to read past rather than fetch anew

tl::unexpected<Error> cancelled() {
  return fail(ErrorCode::cancelled, "reading the log was interrupted");
}

std::string_view key_of(const rd_kafka_message_t& message) {
  return {static_cast<const char*>(message.key), message.key_len};
}

std::string_view value_of(const rd_kafka_message_t& message) {
  return {static_cast<const char*>(message.payload), message.len};
}

class KafkaCursor : public RangeCursor, public Resting {
 public:
  KafkaCursor(FeedPool& pool, OffsetRange range, const std::atomic<bool>& interrupted)
      : pool_(pool), range_(std::move(range)), interrupted_(interrupted), next_(range_.start) {}

  ~KafkaCursor() override {
    if (feed_) pool_.done(range_.topic, range_.partition);
  }

  // The feed may be another cursor's too, or stopped by the pool: it must stand where this one
  // reads on.
  Status begin() {
    if (next_ >= range_.end) return {};
    if (!feed_) feed_ = pool_.feed(range_.topic, range_.partition);
    const bool useful =
        feed_->running() && feed_->position() <= next_ && next_ - feed_->position() <= kSkipMost;
    if (!useful) TRY(feed_->start(next_));
    feed_->expect(range_.end);
    return {};
  }

  Result<std::optional<LogRecord>> next() override {
    if (std::exchange(again_, false)) {
      pool_.wake(range_.topic, range_.partition);
      if (const auto record = last()) return record;
    }
    copied_.reset();
    SteadyTime waiting_since{};
    while (next_ < range_.end) {
      TRY(begin());
      TRY_ASSIGN(Message message, feed_->next(Millis(0)));
      if (!message) {
        if (feed_->end_seen() >= range_.end) break;  // the last offsets hold no records
        if (interrupted_) return cancelled();
        const SteadyTime now = system_clock().now();
        if (waiting_since == SteadyTime{}) waiting_since = now;
        if (now - waiting_since > pool_.client().options().patience) {
          TRY(inspect());
          waiting_since = {};
          continue;
        }
        TRY_ASSIGN(message, feed_->next(kSlice));
      }
      if (!message || message->offset < next_) continue;
      next_ = message->offset + 1;
      current_ = std::move(message);
      if (current_->offset >= range_.end) break;
      return last();
    }
    return std::nullopt;
  }

  // A message keeps the batch that it came in.
  void rest() override {
    again_ = true;
    if (current_ && current_->key_len + current_->len <= kCopiedMost) {
      copied_ = {current_->offset, std::string(key_of(*current_)),
                 std::string(value_of(*current_))};
      current_.reset();
    }
    pool_.rest(range_.topic, range_.partition, *this);
  }

  Status prepare() override {
    pool_.wake(range_.topic, range_.partition);
    return begin();
  }

  size_t held_bytes() const override {
    return feed_->queued_bytes() + (current_ ? current_->key_len + current_->len : 0);
  }

  void let_go() override {
    if (current_) next_ = current_->offset;
    current_.reset();
    feed_->stop();
  }

 private:
  struct Copy {
    LogOffset offset;
    std::string key;
    std::string value;
  };

  std::optional<LogRecord> last() const {
    if (current_) return LogRecord{current_->offset, key_of(*current_), value_of(*current_)};
    if (copied_) return LogRecord{copied_->offset, copied_->key, copied_->value};
    return std::nullopt;
  }

  // Nothing came for long. Either the broker says that the range is there, and the feed starts
  // anew, or it is gone, or there is no broker.
  Status inspect() {
    TRY_ASSIGN(const Bounds bounds,
               watermarks(pool_.client(), range_.topic, range_.partition, kBrokerWait));
    if (next_ < bounds.start || range_.end > bounds.end) {
      return fail(gone(range_.topic, range_.partition,
                       next_ < bounds.start ? next_ : range_.end - 1, bounds));
    }
    logging::warn("kafka partition read anew", {{"topic", range_.topic},
                                                {"partition", range_.partition},
                                                {"offset", static_cast<long>(next_)}});
    feed_->stop();
    return begin();
  }

  FeedPool& pool_;
  const OffsetRange range_;
  const std::atomic<bool>& interrupted_;
  LogOffset next_;
  std::shared_ptr<Feed> feed_;
  Message current_;  // what the last record's views stand in, or
  std::optional<Copy> copied_;
  bool again_ = false;  // next() gives the last record once more
};

}  // namespace

Result<std::unique_ptr<Reader>> KafkaReader::make(const KafkaOptions& options) {
  TRY_ASSIGN(std::unique_ptr<Client> control, Client::make(options, Role::control_reader));
  TRY_ASSIGN(std::unique_ptr<Client> data, Client::make(options, Role::data_reader));
  return std::unique_ptr<Reader>(new KafkaReader(std::move(control), std::move(data)));
}

KafkaReader::KafkaReader(std::unique_ptr<Client> control, std::unique_ptr<Client> data)
    : manifest_topic_(control->options().manifest_topic),
      control_client_(std::move(control)),
      data_client_(std::move(data)),
      control_nudger_(*control_client_),
      control_(*control_client_, control_nudger_, manifest_topic_, 0),
      data_(*data_client_) {}

Result<Bounds> KafkaReader::control_bounds() {
  return watermarks(*data_client_, manifest_topic_, 0, kBrokerWait);
}

Status KafkaReader::seek_control(LogOffset offset) {
  TRY_ASSIGN(const Bounds bounds, control_bounds());
  if (offset < bounds.start || offset > bounds.end)
    return fail(gone(manifest_topic_, 0, offset, bounds));
  return control_.start(offset);
}

Result<std::optional<ControlEntry>> KafkaReader::next_control(Millis wait) {
  const SteadyTime until = system_clock().now() + wait;
  data_.stop_idle();
  if (!control_.running()) TRY(control_.start(control_.position()));
  for (;;) {
    if (interrupted_) return cancelled();
    TRY_ASSIGN(const Message message, control_.next(Millis(0)));
    if (message) return ControlEntry{message->offset, std::string(value_of(*message))};
    const auto left = std::chrono::ceil<Millis>(until - system_clock().now());
    if (control_client_->lost_all_brokers()) {
      return fail(ErrorCode::retryable,
                  fmt::format("kafka {}: {}", control_client_->options().brokers,
                              control_client_->trouble()));
    }
    if (left <= Millis(0)) return std::nullopt;
    TRY_ASSIGN(const Message waited, control_.next(std::min(left, kSlice)));
    if (waited) return ControlEntry{waited->offset, std::string(value_of(*waited))};
    data_.stop_idle();
  }
}

Result<ControlEntry> KafkaReader::control_at(LogOffset offset) {
  KafkaCursor cursor(data_, {manifest_topic_, 0, offset, offset + 1, 1}, interrupted_);
  TRY_ASSIGN(const auto record, cursor.next());
  if (!record) {
    TRY_ASSIGN(const Bounds bounds, control_bounds());
    return fail(gone(manifest_topic_, 0, offset, bounds));
  }
  return ControlEntry{record->offset, std::string(record->value)};
}

Result<std::unique_ptr<RangeCursor>> KafkaReader::open(const OffsetRange& range) {
  if (interrupted_) return cancelled();
  auto cursor = std::make_unique<KafkaCursor>(data_, range, interrupted_);
  TRY(cursor->begin());  // so that ranges opened one after another are fetched together
  return cursor;
}

}  // namespace millrace::log::kafka
