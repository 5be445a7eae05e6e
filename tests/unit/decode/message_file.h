// Files of captured messages: length32 bytes, big-endian, again and again.
#pragma once

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "relay/decode/byte_reader.h"

namespace millrace::testing {

// Splits; what is left of a cut file is its last message.
inline std::vector<std::string> split_messages(std::string_view bytes) {
  std::vector<std::string> out;
  decode::ByteReader in(bytes);
  while (in.left() >= 4) {
    const size_t length = in.u32();
    out.emplace_back(in.bytes(length < in.left() ? length : in.left()));
  }
  return out;
}

inline std::string join_message(std::string_view message) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(message.size() >> shift));
  }
  return out.append(message);
}

inline std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace millrace::testing
