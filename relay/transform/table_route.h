// TableRouter: which source tables are ours, where each lands, and which topic carries it.
//
// Invariant: within one catalog, no two tables share a target table or a topic; select() refuses
// what would break that. An exact rule wins over a pattern; of several patterns the first.
// Immutable after make(), so any thread may read it.
#pragma once

#include <compare>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "relay/base/result.h"

namespace millrace::transform {

// Plain identifiers, as the catalog has them.
struct TableId {
  std::string schema;
  std::string name;
  auto operator<=>(const TableId&) const = default;
};

std::string to_string(const TableId& table);  // public."Odd Name"

struct TableRule {
  bool pattern = false;  // `source` holds globs: * any run of characters, ? any one byte
  TableId source;
  TableId target;  // exact rules only
};

struct RouterOptions {
  std::string pipeline;
  std::string topics;          // template with {pipeline}, {schema} and {table}
  std::string manifest_topic;  // no table may have this one
  std::vector<TableRule> rules;
};

struct TableRoute {
  TableId source;
  TableId target;
  std::string topic;
  size_t rule = 0;  // index into RouterOptions::rules
};

class TableRouter {
 public:
  explicit TableRouter(RouterOptions options) : options_(std::move(options)) {}

  // nullopt: not ours.
  std::optional<TableRoute> route(std::string_view schema, std::string_view name) const;

  // Routes of those among `tables` (the source's catalog) that are ours, in their order.
  // Errors: config, when two of them land in one target table or topic.
  Result<std::vector<TableRoute>> select(std::span<const TableId> tables) const;

  // Rules that none of `tables` matches: an exact name that is not there, a pattern without a
  // match.
  std::vector<TableRule> unmatched(std::span<const TableId> tables) const;

 private:
  RouterOptions options_;
};

bool glob_matches(std::string_view glob, std::string_view text);

}  // namespace millrace::transform
