// Any bytes as a key or value of the checkpoint and its history: no crash, one encoding for what is
// accepted, and keys whose bytes sort as what they mean.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "relay/checkpoint/entry_codec.h"

namespace {

using namespace millrace;
using namespace millrace::checkpoint;

void require(bool holds) {
  if (!holds) std::abort();
}

// An entry of the history lives under two keys that both lead back to it.
void check_history(const Entry& entry) {
  const std::string by_position = encode_key(position_of(entry));
  const std::string by_time = encode_key(time_of(entry));
  require(decode_position_key(by_position) == position_of(entry));
  require(decode_time_key(by_time) == time_of(entry));
  require(!decode_position_key(by_time) && !decode_time_key(by_position));
  require(first_position_key(position_of(entry).place) <= by_position);
  require(by_position < position_keys_end());
  require(first_time_key(entry.at) <= by_time && by_time < time_keys_end());
}

template <typename Decode>
void check_order(std::string_view a, std::string_view b, const Decode& decode) {
  const auto first = decode(a);
  const auto second = decode(b);
  if (first && second) require((*first < *second) == (a < b));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto entry = decode_entry(bytes)) {
    require(encode_entry(*entry) == bytes);
    check_history(*entry);
  }
  if (const auto name = decode_name(bytes)) require(encode_name(*name) == bytes);
  if (const auto key = decode_position_key(bytes)) require(encode_key(*key) == bytes);
  if (const auto key = decode_time_key(bytes)) require(encode_key(*key) == bytes);
  const auto half = bytes.size() / 2;
  check_order(bytes.substr(0, half), bytes.substr(half), decode_position_key);
  check_order(bytes.substr(0, half), bytes.substr(half), decode_time_key);
  return 0;
}
