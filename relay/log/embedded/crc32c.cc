#include "relay/log/embedded/crc32c.h"

#include <cstring>

#include <nmmintrin.h>

namespace millrace::log {
namespace {

__attribute__((target("sse4.2"))) uint32_t by_instruction(uint32_t crc, const char* data,
                                                          size_t size) {
  uint64_t state = ~crc;
  for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t), data += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, data, sizeof word);
    state = _mm_crc32_u64(state, word);
  }
  auto narrow = static_cast<uint32_t>(state);
  for (; size > 0; size--, data++) narrow = _mm_crc32_u8(narrow, static_cast<uint8_t>(*data));
  return ~narrow;
}

const bool kHasInstruction = __builtin_cpu_supports("sse4.2") != 0;

}  // namespace

uint32_t crc32c_extend(uint32_t crc, const char* data, size_t size) {
  return kHasInstruction ? by_instruction(crc, data, size)
                         : crc32c_extend_by_table(crc, data, size);
}

}  // namespace millrace::log
