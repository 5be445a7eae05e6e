#include "relay/log/embedded/block.h"

#include <cstring>
#include <limits>

namespace millrace::log {
namespace {

template <typename T>
void put_big(std::string& out, T value) {
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>((value >> shift) & 0xff));
  }
}

template <typename T>
T get_big(std::string_view bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); i++) {
    value = static_cast<T>((value << 8) | static_cast<uint8_t>(bytes[i]));
  }
  return value;
}

template <typename T>
void store_little(char* out, T value) {
  for (size_t i = 0; i < sizeof(T); i++) out[i] = static_cast<char>((value >> (8 * i)) & 0xff);
}

template <typename T>
T load_little(const char* in) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); i++) {
    value = static_cast<T>(value | (static_cast<T>(static_cast<uint8_t>(in[i])) << (8 * i)));
  }
  return value;
}

std::optional<LogOffset> offset_after(std::string_view key, const std::string& prefix) {
  if (key.size() != prefix.size() + 8 || key.substr(0, prefix.size()) != prefix)
    return std::nullopt;
  const auto offset = get_big<uint64_t>(key.substr(prefix.size()));
  if (offset > static_cast<uint64_t>(std::numeric_limits<LogOffset>::max())) return std::nullopt;
  return static_cast<LogOffset>(offset);
}

std::string prefix_of(char kind, uint32_t topic) {
  std::string prefix(1, kind);
  put_big(prefix, topic);
  return prefix;
}

std::string block_prefix(uint32_t topic) {
  std::string prefix = prefix_of('d', topic);
  put_big(prefix, uint32_t{0});  // the partition
  return prefix;
}

}  // namespace

std::string block_key(uint32_t topic, LogOffset first) {
  std::string key = block_prefix(topic);
  put_big(key, static_cast<uint64_t>(first));
  return key;
}

std::string floor_key(uint32_t topic) { return prefix_of('f', topic); }

std::string name_key(std::string_view topic_name) { return "t" + std::string(topic_name); }

std::string mark_key(uint32_t topic, LogOffset first) {
  std::string key = prefix_of('x', topic);
  put_big(key, static_cast<uint64_t>(first));
  return key;
}

std::optional<LogOffset> offset_of_block_key(std::string_view key, uint32_t topic) {
  return offset_after(key, block_prefix(topic));
}

std::optional<LogOffset> offset_of_mark_key(std::string_view key, uint32_t topic) {
  return offset_after(key, prefix_of('x', topic));
}

std::string encode_u32(uint32_t value) {
  std::string out;
  put_big(out, value);
  return out;
}

std::string encode_u64(uint64_t value) {
  std::string out;
  put_big(out, value);
  return out;
}

std::optional<uint32_t> decode_u32(std::string_view bytes) {
  if (bytes.size() != 4) return std::nullopt;
  return get_big<uint32_t>(bytes);
}

std::optional<uint64_t> decode_u64(std::string_view bytes) {
  if (bytes.size() != 8) return std::nullopt;
  return get_big<uint64_t>(bytes);
}

void BlockBuilder::add(std::string_view key, std::string_view value) {
  if (buffer_.empty()) {
    // As large as the last one: a run of full blocks does not grow each from nothing.
    buffer_.reserve(last_bytes_);
    buffer_.resize(kBlockHeaderBytes);
  }
  char sizes[kRecordHeaderBytes];
  store_little(sizes, static_cast<uint32_t>(key.size()));
  store_little(sizes + 4, static_cast<uint32_t>(value.size()));
  buffer_.append(sizes, sizeof(sizes));
  buffer_.append(key);
  buffer_.append(value);
  count_++;
}

std::string BlockBuilder::take(uint64_t written_at_micros) {
  if (buffer_.empty()) buffer_.resize(kBlockHeaderBytes);
  buffer_[0] = static_cast<char>(kBlockFormat);
  buffer_[1] = 0;
  store_little(buffer_.data() + 2, count_);
  store_little(buffer_.data() + 6, written_at_micros);
  last_bytes_ = buffer_.size();
  std::string block = std::move(buffer_);
  buffer_.clear();
  count_ = 0;
  return block;
}

std::optional<BlockHeader> decode_block_header(std::string_view block) {
  if (block.size() < kBlockHeaderBytes) return std::nullopt;
  if (static_cast<uint8_t>(block[0]) != kBlockFormat || block[1] != 0) return std::nullopt;
  BlockHeader header;
  header.count = load_little<uint32_t>(block.data() + 2);
  header.written_at_micros = load_little<uint64_t>(block.data() + 6);
  if (header.count == 0) return std::nullopt;
  if (header.count > (block.size() - kBlockHeaderBytes) / kRecordHeaderBytes) return std::nullopt;
  return header;
}

BlockIterator::BlockIterator(std::string_view block) {
  const auto header = decode_block_header(block);
  if (!header) return;
  rest_ = block.substr(kBlockHeaderBytes);
  left_ = header->count;
  malformed_ = false;
}

BlockIterator::Step BlockIterator::next(PackedRecord& record) {
  if (malformed_) return Step::malformed;
  if (left_ == 0) {
    malformed_ = !rest_.empty();
    return malformed_ ? Step::malformed : Step::end;
  }
  malformed_ = true;  // until the record has proved whole
  if (rest_.size() < kRecordHeaderBytes) return Step::malformed;
  const size_t key_size = load_little<uint32_t>(rest_.data());
  const size_t value_size = load_little<uint32_t>(rest_.data() + 4);
  rest_.remove_prefix(kRecordHeaderBytes);
  if (key_size > rest_.size() || value_size > rest_.size() - key_size) return Step::malformed;
  record.key = rest_.substr(0, key_size);
  record.value = rest_.substr(key_size, value_size);
  rest_.remove_prefix(key_size + value_size);
  left_--;
  malformed_ = false;
  return Step::record;
}

}  // namespace millrace::log
