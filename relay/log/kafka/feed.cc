#include "relay/log/kafka/feed.h"

#include <algorithm>
#include <array>
#include <thread>

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>

#include "relay/log/kafka/admin.h"
#include "relay/log/kafka/complaints.h"
#include "relay/log/kafka/read_ahead.h"

namespace millrace::log::kafka {
namespace {

constexpr size_t kBatchMost = 256;
constexpr Millis kBrokerWait{3000};

}  // namespace

Status Feed::start(LogOffset offset) {
  stop();
  if (!handle_) {
    TRY_ASSIGN(handle_, client_.topic(topic_));
  }
  // A new queue for each start: nothing of an earlier one can come out of it.
  Queue queue(rd_kafka_queue_new(client_.get()));
  if (rd_kafka_consume_start_queue(handle_.get(), partition_, offset, queue.get()) != 0) {
    return fail(ErrorCode::retryable,
                fmt::format("kafka {}: topic {}, partition {}: {}", client_.options().brokers,
                            topic_, partition_, rd_kafka_err2str(rd_kafka_last_error())));
  }
  queue_ = std::move(queue);
  position_ = offset;
  end_seen_ = -1;
  expected_end_ = -1;
  return {};
}

void Feed::stop() {
  if (!running()) return;
  ready_.clear();
  rd_kafka_consume_stop(handle_.get(), partition_);
  queue_.reset();
}

size_t Feed::queued_bytes() const {
  if (!running() || taken_messages_ == 0) return 0;
  return (rd_kafka_queue_length(queue_.get()) + ready_.size()) *
         (taken_bytes_ / taken_messages_ + kBesideMessageBytes);
}

Result<Message> Feed::next(Millis wait) {
  TRY_ASSIGN(Message ready, take_ready());
  if (ready) return ready;
  if (wait <= Millis(0)) return Message();
  return wait_for_one(wait);
}

// Skips what is no record (the end of the partition was met).
Result<Message> Feed::take_ready() {
  for (;;) {
    if (ready_.empty()) {
      std::array<rd_kafka_message_t*, kBatchMost> batch;
      const ssize_t got = rd_kafka_consume_batch_queue(queue_.get(), 0, batch.data(), batch.size());
      if (got <= 0) return Message();
      for (auto i = static_cast<size_t>(got); i > 0; i--) ready_.emplace_back(batch[i - 1]);
    }
    Message message = std::move(ready_.back());
    ready_.pop_back();
    TRY_ASSIGN(Message judged, judge(std::move(message)));
    if (judged) return judged;
  }
}

// A message ends a wait at once. Small steps are for librdkafka only, while by its own word there
// is more and it sleeps: at rest they would be most of what an idle relay costs.
Result<Message> Feed::wait_for_one(Millis wait) {
  const SteadyTime until = system_clock().now() + wait;
  Millis step(1);
  for (;;) {
    const auto left = std::chrono::ceil<Millis>(until - system_clock().now());
    if (left <= Millis(0)) return Message();
    const bool more = more_is_there();
    const Millis patience = more ? std::min(step, left) : left;
    Message message(rd_kafka_consume_queue(queue_.get(), static_cast<int>(patience.count())));
    if (message) {
      TRY_ASSIGN(Message judged, judge(std::move(message)));
      if (judged) return judged;
      TRY_ASSIGN(Message ready, take_ready());
      if (ready) return ready;
      continue;
    }
    if (!more) continue;
    nudger_.nudge(topic_, partition_);
    step = std::min(step * 2, Millis(100));
  }
}

bool Feed::more_is_there() const {
  if (expected_end_ > position_) return true;
  Bounds bounds;
  const auto error = rd_kafka_get_watermark_offsets(client_.get(), topic_.c_str(), partition_,
                                                    &bounds.start, &bounds.end);
  return !error && bounds.end > position_;
}

Result<Message> Feed::judge(Message message) {
  switch (message->err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
      if (message->offset < position_) return Message();
      position_ = message->offset + 1;
      beyond_since_ = {};
      taken_messages_++;
      taken_bytes_ += message->len + message->key_len;
      return message;
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
      end_seen_ = message->offset;
      return Message();
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
      TRY(out_of_range());
      return Message();
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      // A broker that has just started says so too, of topics that it is still loading.
      stop();
      return fail(
          ErrorCode::retryable,
          fmt::format("topic {}, partition {} does not exist on kafka {}: offset {} is wanted",
                      topic_, partition_, client_.options().brokers, position_),
          "when it was deleted, start again from a fresh copy: `millrace teardown` and `millrace "
          "setup`");
    case RD_KAFKA_RESP_ERR__BAD_MSG:
      return fail(ErrorCode::corruption,
                  fmt::format("topic {}, partition {}, offset {}: the checksum does not match",
                              topic_, partition_, position_));
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
      return fail(denied(client_, topic_, "Read"));
    default:
      return fail(ErrorCode::retryable,
                  fmt::format("kafka {}: topic {}, partition {}: {}", client_.options().brokers,
                              topic_, partition_, rd_kafka_message_errstr(message.get())));
  }
}

// Below the start is final. Beyond the end may be a new leader that has not caught up yet.
Status Feed::out_of_range() {
  const LogOffset wanted = position_;
  stop();
  TRY_ASSIGN(const Bounds bounds, watermarks(client_, topic_, partition_, kBrokerWait));
  if (wanted < bounds.start) return fail(gone(topic_, partition_, wanted, bounds));
  if (wanted > bounds.end) {
    const SteadyTime now = system_clock().now();
    if (beyond_since_ == SteadyTime{}) beyond_since_ = now;
    if (now - beyond_since_ >= client_.options().patience)
      return fail(gone(topic_, partition_, wanted, bounds));
    std::this_thread::sleep_for(Millis(50));
  }
  return start(wanted);
}

}  // namespace millrace::log::kafka
