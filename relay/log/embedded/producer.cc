#include "relay/log/embedded/producer.h"

#include <fmt/format.h>

namespace millrace::log {
namespace {

constexpr size_t kBlockBytes = size_t{128} << 10;

uint64_t wall_micros() { return static_cast<uint64_t>(system_clock().wall().value); }

}  // namespace

EmbeddedProducer::EmbeddedProducer(Store& store, Writer& writer)
    : store_(store),
      writer_(writer),
      budget_bytes_(store.options().memory_bytes / 8),
      channel_(std::make_shared<Channel>()) {}

EmbeddedProducer::~EmbeddedProducer() { channel_->closed = true; }

Status EmbeddedProducer::check_alive() {
  if (!channel_->closed) return {};
  std::lock_guard lock(channel_->mutex);
  return fail(*channel_->error);
}

Result<EmbeddedProducer::OpenBlock*> EmbeddedProducer::open_block(const std::string& topic) {
  if (last_block_ != nullptr && topic == last_topic_ && !last_block_->topic->removed)
    return last_block_;
  OpenBlock& block = open_[topic];
  if (block.topic == nullptr || block.topic->removed) {
    TRY_ASSIGN(block.topic, store_.find_or_create(topic));
  }
  last_topic_ = topic;
  last_block_ = &block;
  return &block;
}

Result<bool> EmbeddedProducer::append(GroupId group, const std::string& topic, std::string_view key,
                                      std::string_view value) {
  TRY(check_alive());
  const size_t bytes = key.size() + value.size();
  if (bytes > store_.options().max_record_bytes) {
    return fail(
        ErrorCode::bad_data,
        fmt::format("a record of {} bytes for topic {} is larger than the log takes ({} bytes)",
                    bytes, topic, store_.options().max_record_bytes),
        "raise log.max_record, or leave the column out");
  }
  if (group != group_) hand_over_all();
  group_ = group;
  const size_t queued = channel_->queued_bytes;
  if (queued > 0 && queued + bytes > budget_bytes_) {
    hand_over_all();  // or the room would never come back
    starved_ = true;
    return false;
  }
  TRY_ASSIGN(OpenBlock* const block, open_block(topic));
  const size_t before = block->builder.bytes();
  block->builder.add(key, value);
  const size_t added = block->builder.bytes() - before;
  channel_->queued_bytes += added;
  open_bytes_ += added;
  if (block->builder.bytes() >= kBlockBytes) hand_over(*block);
  if (open_bytes_ > budget_bytes_ / 2) hand_over_all();
  return true;
}

void EmbeddedProducer::hand_over(OpenBlock& block) {
  WriteItem item;
  item.kind = WriteItem::Kind::block;
  item.channel = channel_;
  item.group = group_;
  item.topic = block.topic;
  item.records = block.builder.count();
  item.bytes = block.builder.take(wall_micros());
  open_bytes_ -= item.bytes.size();
  writer_.submit(std::move(item));
}

void EmbeddedProducer::hand_over_all() {
  if (open_bytes_ == 0) return;
  for (auto& [name, block] : open_) {
    if (!block.builder.empty()) hand_over(block);
  }
}

Status EmbeddedProducer::seal(GroupId group) {
  TRY(check_alive());
  if (group == group_) hand_over_all();
  WriteItem item;
  item.kind = WriteItem::Kind::seal;
  item.channel = channel_;
  item.group = group;
  writer_.submit(std::move(item));
  return {};
}

Status EmbeddedProducer::append_control(uint64_t ticket, std::string_view value) {
  TRY(check_alive());
  BlockBuilder builder;
  builder.add({}, value);
  WriteItem item;
  item.kind = WriteItem::Kind::control;
  item.channel = channel_;
  item.ticket = ticket;
  item.topic = &store_.control();
  item.records = 1;
  item.bytes = builder.take(wall_micros());
  channel_->queued_bytes += item.bytes.size();
  writer_.submit(std::move(item));
  return {};
}

// Returns early without events when an append found no room and there is some again.
Result<std::vector<ProducerEvent>> EmbeddedProducer::poll(Millis wait) {
  std::unique_lock lock(channel_->mutex);
  const auto ready = [&] {
    return !channel_->events.empty() || channel_->error ||
           (starved_ && channel_->queued_bytes <= budget_bytes_ / 2);
  };
  if (wait > Millis(0)) channel_->changed.wait_for(lock, wait, ready);
  starved_ = false;
  std::vector<ProducerEvent> events;
  events.swap(channel_->events);
  if (events.empty() && channel_->error) return fail(*channel_->error);
  return events;
}

}  // namespace millrace::log
