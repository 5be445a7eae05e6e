// A Handler that writes down what it is told, one line an event, in a form that people can compare.
#pragma once

#include <string>
#include <vector>

#include <fmt/format.h>

#include "relay/decode/decoder.h"

namespace millrace::testing {

inline std::string render(Row row) {
  std::string out = "(";
  for (const Value& value : row) {
    if (out.size() > 1) out += ", ";
    if (value.kind == ValueKind::null) {
      out += "null";
    } else if (value.kind == ValueKind::unchanged) {
      out += "unchanged";
    } else if (value.text.size() > 64) {
      out += fmt::format("{} bytes", value.text.size());
    } else {
      out += fmt::format("'{}'", value.text);
    }
  }
  return out + ")";
}

inline std::string render(const TableSchema& table) {
  std::string out = fmt::format("{} [{}]", display_name(table), static_cast<int>(table.identity));
  for (const Column& column : table.columns) {
    out += fmt::format(" {}{}:{}", column.in_key ? "*" : "", column.name,
                       column.type_name.empty() ? std::to_string(column.type_oid)
                                                : column.type_schema + "." + column.type_name);
  }
  return out;
}

class Recorder : public decode::Handler {
 public:
  Status on_begin(const decode::Begin& begin) override {
    lines.push_back(fmt::format("begin {}", to_string(begin.commit_lsn)));
    return {};
  }
  Status on_change(const Change& change, const TableSchemaPtr& table) override {
    tables.push_back(table);
    std::string line = fmt::format("{} {} {}", to_string(change.op), display_name(*table),
                                   change.position.ordinal);
    if (!change.before.empty()) line += " before " + render(change.before);
    if (!change.after.empty()) line += " after " + render(change.after);
    if (change.op == Op::truncate) {
      line += fmt::format(" with {} from {}{}", change.truncated.size(), change.truncate_first,
                          change.restart_identity ? " restart" : "");
    }
    if (change.table != table.get()) line += " WRONG TABLE";
    lines.push_back(std::move(line));
    positions.push_back(change.position);
    truncated.assign(change.truncated.begin(), change.truncated.end());
    return {};
  }
  Status on_commit(const decode::Commit& commit) override {
    lines.push_back(
        fmt::format("commit {} end {}", to_string(commit.commit_lsn), to_string(commit.end_lsn)));
    return {};
  }
  Status on_message(const decode::LogicalMessage& message) override {
    lines.push_back(fmt::format("message {} {}: {}", message.transactional ? "in" : "out",
                                message.prefix, message.content));
    return {};
  }

  std::vector<std::string> lines;
  std::vector<TableSchemaPtr> tables;
  std::vector<Position> positions;
  std::vector<uint64_t> truncated;
};

}  // namespace millrace::testing
