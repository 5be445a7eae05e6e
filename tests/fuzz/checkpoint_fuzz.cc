// Any bytes as a key or value of the checkpoint: no crash, and one encoding for what is accepted.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "relay/checkpoint/entry_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace::checkpoint;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto require = [](bool holds) {
    if (!holds) std::abort();
  };
  if (const auto entry = decode_entry(bytes)) require(encode_entry(*entry) == bytes);
  if (const auto name = decode_name(bytes)) require(encode_name(*name) == bytes);
  if (const auto key = decode_position_key(bytes)) require(encode_key(*key) == bytes);
  if (const auto key = decode_time_key(bytes)) require(encode_key(*key) == bytes);
  return 0;
}
