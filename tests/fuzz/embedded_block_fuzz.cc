// Any bytes as a block of the embedded log: an error or records inside the bytes, never a wild
// read.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "relay/log/embedded/block.h"

using namespace millrace::log;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  BlockIterator it(bytes);
  BlockBuilder again;
  PackedRecord record;
  BlockIterator::Step step;
  uint64_t sum = 0;
  while ((step = it.next(record)) == BlockIterator::Step::record) {
    for (const char c : record.key) sum += static_cast<uint8_t>(c);
    for (const char c : record.value) sum += static_cast<uint8_t>(c);
    again.add(record.key, record.value);
  }
  if (step == BlockIterator::Step::end) {
    // What is read as whole is what would be written.
    const auto header = decode_block_header(bytes);
    if (!header || again.take(header->written_at_micros) != bytes) abort();
  }
  if (const auto offset = offset_of_block_key(bytes, 1)) {
    if (block_key(1, *offset) != bytes) abort();
  }
  if (const auto offset = offset_of_mark_key(bytes, 1)) {
    if (mark_key(1, *offset) != bytes) abort();
  }
  if (const auto value = decode_u32(bytes); value && encode_u32(*value) != bytes) abort();
  if (const auto value = decode_u64(bytes); value && encode_u64(*value) != bytes) abort();
  return sum == UINT64_MAX ? 1 : 0;
}
