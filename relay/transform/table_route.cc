#include "relay/transform/table_route.h"

#include <algorithm>
#include <map>

#include "relay/event/table_schema.h"
#include "relay/transform/topic_name.h"

namespace millrace::transform {
namespace {

bool rule_matches(const TableRule& rule, std::string_view schema, std::string_view name) {
  if (!rule.pattern) return rule.source.schema == schema && rule.source.name == name;
  // The catalogs are never meant; `pattern: "*.*"` should not copy them, nor our own metadata.
  if (schema.starts_with("pg_") || schema == "information_schema" || schema == "millrace")
    return false;
  return glob_matches(rule.source.schema, schema) && glob_matches(rule.source.name, name);
}

// A broker counts two topics as one in its metrics, and refuses the second, when they differ only
// in
// '.' and '_'.
std::string as_in_metrics(std::string topic) {
  std::replace(topic.begin(), topic.end(), '.', '_');
  return topic;
}

}  // namespace

std::string to_string(const TableId& table) {
  return quote_if_needed(table.schema) + "." + quote_if_needed(table.name);
}

bool glob_matches(std::string_view glob, std::string_view text) {
  size_t g = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;  // the last * seen, and where its run may end next
  size_t resume = 0;
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      resume = t;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == text[t])) {
      ++g;
      ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

std::optional<TableRoute> TableRouter::route(std::string_view schema, std::string_view name) const {
  const auto& rules = options_.rules;
  const auto with = [&](bool pattern) {
    return std::find_if(rules.begin(), rules.end(), [&](const TableRule& rule) {
      return rule.pattern == pattern && rule_matches(rule, schema, name);
    });
  };
  auto found = with(false);
  if (found == rules.end()) found = with(true);
  if (found == rules.end()) return std::nullopt;
  TableRoute out;
  out.source = {std::string(schema), std::string(name)};
  out.target = found->pattern ? out.source : found->target;
  out.topic = topic_name(options_.topics, options_.pipeline, schema, name);
  out.rule = static_cast<size_t>(found - rules.begin());
  return out;
}

Result<std::vector<TableRoute>> TableRouter::select(std::span<const TableId> tables) const {
  std::vector<TableRoute> out;
  std::map<TableId, TableId> targets;     // target → source
  std::map<std::string, TableId> topics;  // as in metrics → source
  for (const TableId& table : tables) {
    auto found = route(table.schema, table.name);
    if (!found) continue;
    const auto [target, alone] = targets.emplace(found->target, table);
    if (!alone) {
      return fail(ErrorCode::config,
                  to_string(table) + " and " + to_string(target->second) + " both land in " +
                      to_string(found->target),
                  "give one of them another `to` under tables");
    }
    const auto [topic, unique] = topics.emplace(as_in_metrics(found->topic), table);
    if (!unique || as_in_metrics(found->topic) == as_in_metrics(options_.manifest_topic)) {
      const std::string other = unique ? "the manifests" : to_string(topic->second);
      return fail(ErrorCode::config,
                  to_string(table) + " and " + other + " would share the topic " + found->topic +
                      " (Kafka counts '.' and '_' as one)",
                  "change log.topics so that their names differ");
    }
    out.push_back(std::move(*found));
  }
  return out;
}

std::vector<TableRule> TableRouter::unmatched(std::span<const TableId> tables) const {
  std::vector<TableRule> out;
  for (const TableRule& rule : options_.rules) {
    const bool any = std::any_of(tables.begin(), tables.end(), [&](const TableId& table) {
      return rule_matches(rule, table.schema, table.name);
    });
    if (!any) out.push_back(rule);
  }
  return out;
}

}  // namespace millrace::transform
