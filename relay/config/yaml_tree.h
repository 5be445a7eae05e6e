// YamlTree: a YAML document as plain data, with the line of every key and value.
//
// Invariant: at most kNodesMost nodes and kDepthMost levels, aliases counted as often as they are
// used, so that a small file can not grow large in memory. Repeated keys are kept, both.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "relay/base/result.h"

namespace millrace::config {

constexpr size_t kFileBytesMost = size_t{1024} * 1024;
constexpr size_t kNodesMost = 20'000;
constexpr int kDepthMost = 8;

struct YamlNode {
  enum class Kind { null, scalar, list, mapping };
  struct Member;

  Kind kind = Kind::null;
  int line = 1;
  std::string text;             // scalar
  std::vector<YamlNode> items;  // list
  std::vector<Member> members;  // mapping
};

struct YamlNode::Member {
  std::string key;
  int line = 1;
  YamlNode value;
};

// Errors: config, "file:line: message".
Result<YamlNode> parse_yaml(std::string_view text, const std::string& filename);

}  // namespace millrace::config
