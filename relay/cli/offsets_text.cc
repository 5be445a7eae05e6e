#include "relay/cli/offsets_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace millrace::cli {
namespace {

using nlohmann::ordered_json;

std::string kind_name(checkpoint::Kind kind) {
  switch (kind) {
    case checkpoint::Kind::published:
      return "published";
    case checkpoint::Kind::acknowledged:
      return "acknowledged";
    case checkpoint::Kind::applied:
      return "applied";
  }
  return "unknown";
}

ordered_json time_or_null(TimeMicros at) {
  return at.value == 0 ? ordered_json(nullptr) : ordered_json(to_string(at));
}

ordered_json json_of(const OffsetLine& line) {
  ordered_json out;
  out["pipeline"] = line.pipeline;
  out["kind"] = line.kind;
  out["position"] = to_string(line.watermark);
  out["commit_lsn"] =
      line.watermark.commit_lsn ? ordered_json(to_string(line.watermark.commit_lsn)) : nullptr;
  out["commit_time"] = time_or_null(line.watermark.commit_time);
  out["manifest_offset"] =
      line.manifest_offset < 0 ? ordered_json(nullptr) : ordered_json(line.manifest_offset);
  out["token"] = line.token.value;
  out["epoch"] = line.epoch;
  out["system_identifier"] = line.system_identifier;
  out["at"] = time_or_null(line.at);
  out["ranges"] = ordered_json::array();
  for (const OffsetRange& range : line.ranges) {
    out["ranges"].push_back({{"topic", range.topic},
                             {"partition", range.partition},
                             {"start", range.start},
                             {"end", range.end},
                             {"rows", range.rows}});
  }
  return out;
}

std::string time_or_dash(TimeMicros at) { return at.value == 0 ? "-" : to_string(at); }

}  // namespace

OffsetLine line_of(const checkpoint::Entry& entry) {
  OffsetLine line;
  line.pipeline = entry.pipeline;
  line.kind = kind_name(entry.kind);
  line.watermark = entry.watermark;
  line.epoch = entry.epoch;
  line.token = entry.token;
  line.manifest_offset = entry.manifest_offset;
  line.system_identifier = entry.system_identifier;
  line.at = entry.at;
  line.ranges = entry.ranges;
  return line;
}

OffsetLine line_of(const std::string& pipeline, const sink::Applied& applied) {
  OffsetLine line;
  line.pipeline = pipeline;
  line.kind = "target";
  line.watermark = applied.watermark;
  line.epoch = applied.epoch;
  line.token = applied.token;
  line.manifest_offset = applied.manifest_offset;
  line.system_identifier = applied.system_identifier;
  line.at = applied.applied_at;
  return line;
}

std::string lines_text(const std::vector<OffsetLine>& lines) {
  if (lines.empty()) return {};
  std::string out = fmt::format("{:<13} {:<20} {:<10} {:<28} {}\n", "KIND", "POSITION", "MANIFEST",
                                "COMMITTED", "AT");
  for (const OffsetLine& line : lines) {
    out += fmt::format("{:<13} {:<20} {:<10} {:<28} {}\n", line.kind, to_string(line.watermark),
                       line.manifest_offset < 0 ? "-" : std::to_string(line.manifest_offset),
                       time_or_dash(line.watermark.commit_time), time_or_dash(line.at));
  }
  return out;
}

std::string lines_json(const std::vector<OffsetLine>& lines) {
  ordered_json out = ordered_json::array();
  for (const OffsetLine& line : lines) out.push_back(json_of(line));
  return out.dump(2, ' ', true, ordered_json::error_handler_t::replace) + "\n";
}

std::string line_details(const OffsetLine& line) {
  std::string out;
  const ordered_json members = json_of(line);
  for (const auto& [key, value] : members.items()) {
    const std::string text = value.is_string() ? value.get<std::string>()
                             : value.is_null() ? "-"
                                               : value.dump();
    out += fmt::format("{:<18} {}\n", key, text);
  }
  return out;
}

}  // namespace millrace::cli
