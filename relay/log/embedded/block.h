// The blocks that the embedded log is made of: the keys of its RocksDB folder and the packing of
// records.
//
// Invariant: a block holds the records of one group for one topic, at consecutive offsets from the
// one in its key. Values are bytes that this program wrote and RocksDB checksums; a decoder still
// checks every length, so that a damaged block is an error and never a wild read.
//
//   key    = 'd' topic:u32be partition:u32be first_offset:u64be      a block
//          | 'f' topic:u32be                    -> u64be             first offset that is kept
//          | 'n'                                -> u32be             the next topic number
//          | 't' topic name                     -> u32be             a topic's number, never used
//          twice | 'v'                                -> u8                version of this format
//          (1) | 'x' topic:u32be first_offset:u64be -> micros:u64be bytes:u64be   a retention mark
//   block  = format:u8 (1)  flags:u8 (0)  count:u32le  written_at_micros:u64le  record{count}
//   record = key_size:u32le  value_size:u32le  key  value
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "relay/event/manifest.h"

namespace millrace::log {

inline constexpr uint8_t kFormatVersion = 1;
inline constexpr uint8_t kBlockFormat = 1;
inline constexpr size_t kBlockHeaderBytes = 14;
inline constexpr size_t kRecordHeaderBytes = 8;

std::string block_key(uint32_t topic, LogOffset first);
std::string floor_key(uint32_t topic);
std::string name_key(std::string_view topic_name);
std::string mark_key(uint32_t topic, LogOffset first);
inline std::string version_key() { return "v"; }
inline std::string next_topic_key() { return "n"; }

// The offset at the end of a block or mark key of `topic`; nullopt when it is another key.
std::optional<LogOffset> offset_of_block_key(std::string_view key, uint32_t topic);
std::optional<LogOffset> offset_of_mark_key(std::string_view key, uint32_t topic);

std::string encode_u32(uint32_t value);  // big-endian
std::string encode_u64(uint64_t value);
std::optional<uint32_t> decode_u32(std::string_view bytes);
std::optional<uint64_t> decode_u64(std::string_view bytes);

// Packs records. One thread.
class BlockBuilder {
 public:
  void add(std::string_view key, std::string_view value);
  bool empty() const { return count_ == 0; }
  uint32_t count() const { return count_; }
  size_t bytes() const { return buffer_.size(); }
  // The finished block; the builder is empty again.
  std::string take(uint64_t written_at_micros);

 private:
  std::string buffer_;
  size_t last_bytes_ = 0;
  uint32_t count_ = 0;
};

struct BlockHeader {
  uint32_t count = 0;
  uint64_t written_at_micros = 0;
};

// nullopt: not a block of this format.
std::optional<BlockHeader> decode_block_header(std::string_view block);

struct PackedRecord {
  std::string_view key;
  std::string_view value;
};

// Unpacks; borrows the block's bytes.
class BlockIterator {
 public:
  enum class Step { record, end, malformed };

  BlockIterator() = default;
  explicit BlockIterator(std::string_view block);
  // `end` only when the header's count was met exactly and no byte is left.
  Step next(PackedRecord& record);

 private:
  std::string_view rest_;
  uint32_t left_ = 0;
  bool malformed_ = true;
};

}  // namespace millrace::log
