#include "relay/transform/topic_name.h"

#include <cstdint>

namespace millrace::transform {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

void append_escaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '-';
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
}

std::string hash_suffix(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  std::string out = "-h";
  for (int shift = 60; shift >= 0; shift -= 4) out += kHex[(hash >> shift) & 15];
  return out;
}

}  // namespace

std::string topic_name(std::string_view form, std::string_view pipeline, std::string_view schema,
                       std::string_view table) {
  std::string out;
  while (!form.empty()) {
    const auto take = [&form](std::string_view placeholder) {
      if (!form.starts_with(placeholder)) return false;
      form.remove_prefix(placeholder.size());
      return true;
    };
    if (take("{pipeline}")) {
      out += pipeline;
    } else if (take("{schema}")) {
      append_escaped(out, schema);
    } else if (take("{table}")) {
      append_escaped(out, table);
    } else {
      out += form.front();
      form.remove_prefix(1);
    }
  }
  if (out.size() <= kTopicBytesMost) return out;
  const std::string suffix = hash_suffix(out);
  return out.substr(0, kTopicBytesMost - suffix.size()) + suffix;
}

}  // namespace millrace::transform
