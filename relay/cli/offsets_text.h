// Offsets as lines for people and as JSON.
#pragma once

#include <string>
#include <vector>

#include "relay/checkpoint/entry.h"
#include "relay/sink/target.h"

namespace millrace::cli {

struct OffsetLine {
  std::string pipeline;
  std::string kind;  // published | acknowledged | applied | target
  Watermark watermark;
  uint32_t epoch = 1;
  Token token;
  LogOffset manifest_offset = -1;
  std::string system_identifier;
  TimeMicros at;  // when it was published or applied; 0 for unknown
  std::vector<OffsetRange> ranges;
};

OffsetLine line_of(const checkpoint::Entry& entry);
OffsetLine line_of(const std::string& pipeline, const sink::Applied& applied);

std::string lines_text(const std::vector<OffsetLine>& lines);
std::string lines_json(const std::vector<OffsetLine>& lines);  // one array
std::string line_details(const OffsetLine& line);              // one member a line

}  // namespace millrace::cli
