#include "relay/cli/verify_text.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "relay/cli/status_text.h"

namespace millrace::cli {
namespace {

using chunk::RowReport;
using chunk::TableReport;
using chunk::VerifyReport;
using nlohmann::ordered_json;

constexpr size_t kRowsShown = 20;

std::string position(const VerifyHead& head, Lsn lsn) {
  return std::to_string(head.timeline) + ":" + to_string(lsn);
}

std::string_view word(VerifyOutcome outcome) {
  switch (outcome) {
    case VerifyOutcome::equal:
      return "equal";
    case VerifyOutcome::different:
      return "different";
    case VerifyOutcome::undecided:
      return "undecided";
  }
  return "";
}

ordered_json json_of(const std::optional<std::string>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json json_of(const std::optional<compare::Key>& key) {
  return key ? ordered_json(*key) : ordered_json(nullptr);
}

ordered_json ranges_json(const std::vector<chunk::RangeReport>& ranges) {
  ordered_json out = ordered_json::array();
  for (const chunk::RangeReport& part : ranges) {
    out.push_back({{"after", json_of(part.range.after)},
                   {"until", json_of(part.range.until)},
                   {"compared", part.compared},
                   {"equal", part.equal},
                   {"missing", part.missing},
                   {"extra", part.extra},
                   {"different", part.different},
                   {"unresolved", part.unresolved}});
  }
  return out;
}

ordered_json json_of(const VerifyHead& head, const TableReport& table) {
  ordered_json out;
  out["table"] = table.table;
  out["target_table"] = table.target_table;
  out["keyed"] = table.keyed;
  out["compared"] = table.compared;
  out["equal"] = table.equal;
  out["missing"] = table.missing;
  out["extra"] = table.extra;
  out["different"] = table.different;
  out["unresolved"] = table.unresolved;
  out["why"] = table.why.empty() ? ordered_json(nullptr) : ordered_json(table.why);
  const auto hash = head.mapping_hashes.find(table.table);
  out["mapping_hash"] =
      hash == head.mapping_hashes.end() ? ordered_json(nullptr) : ordered_json(hash->second);
  if (!table.ranges.empty()) out["ranges"] = ranges_json(table.ranges);
  if (head.kind == "drift") out["drifting"] = table.drifting;
  return out;
}

ordered_json json_of(const RowReport& row) {
  ordered_json out;
  out["table"] = row.table;
  out["key"] = ordered_json::object();
  for (const auto& [column, value] : row.key) out["key"][column] = value;
  out["kind"] = row.kind;
  out["columns"] = row.columns;
  if (!row.why.empty()) out["why"] = row.why;
  for (size_t i = 0; i < row.source.size(); ++i) {
    out["values"][row.columns[i]] = {{"source", json_of(row.source[i])},
                                     {"target", json_of(row.target[i])}};
  }
  return out;
}

std::string keys_text(const std::optional<compare::Key>& key, const char* none) {
  if (!key) return none;
  std::string out;
  for (const std::string& value : *key) out += (out.empty() ? "" : ", ") + value;
  return printable("(" + out + ")");
}

// What stands below a table's line.
std::string below(const TableReport& table, size_t width) {
  std::string out;
  for (const chunk::RangeReport& part : table.ranges) {
    const std::string name = "  " + keys_text(part.range.after, "(first)") + " .. " +
                             keys_text(part.range.until, "(last)");
    out +=
        fmt::format("{:<{}}  {:>12} {:>12} {:>9} {:>9} {:>9} {:>10}\n", name, width, part.compared,
                    part.equal, part.missing, part.extra, part.different, part.unresolved);
  }
  for (const auto& [column, rows] : table.drifting) {
    out += fmt::format("  column {}: NULL, DEFAULT or a value on one side alone in {} rows\n",
                       printable(column), rows);
  }
  return out;
}

std::string line_of(const RowReport& row) {
  std::string out = fmt::format("{} {} {}", row.kind, row.table, key_text(row.key));
  for (size_t i = 0; i < row.columns.size(); ++i) {
    out += (i == 0 ? ": " : ", ") + printable(row.columns[i]);
    if (i >= row.source.size()) continue;
    out += fmt::format(" {} | {}", printable(row.source[i].value_or("NULL")),
                       printable(row.target[i].value_or("NULL")));
  }
  if (!row.why.empty()) out += ": " + row.why;
  return out + "\n";
}

bool any_different(const VerifyReport& report, const std::vector<InvariantReport>& invariants) {
  return std::any_of(report.tables.begin(), report.tables.end(),
                     [](const TableReport& table) { return table.differs(); }) ||
         std::any_of(invariants.begin(), invariants.end(),
                     [](const InvariantReport& one) { return !one.holds && one.why.empty(); });
}

}  // namespace

VerifyOutcome outcome(const VerifyReport& report, const std::vector<InvariantReport>& invariants) {
  if (any_different(report, invariants)) return VerifyOutcome::different;
  const bool open = std::any_of(report.tables.begin(), report.tables.end(),
                                [](const TableReport& table) { return table.undecided(); }) ||
                    std::any_of(invariants.begin(), invariants.end(),
                                [](const InvariantReport& one) { return !one.holds; });
  return open ? VerifyOutcome::undecided : VerifyOutcome::equal;
}

std::string verify_json(const VerifyHead& head, const VerifyReport& report,
                        const std::vector<InvariantReport>& invariants) {
  ordered_json out;
  out["pipeline"] = head.pipeline;
  out["epoch"] = report.epoch;
  out["outcome"] = word(outcome(report, invariants));
  out["position"] = position(head, report.to);
  out["position_from"] = position(head, report.from);
  out["kind"] = head.kind;
  out["scope"] = head.scope.empty() ? ordered_json(nullptr) : ordered_json(head.scope);
  out["sample"] = head.sample;
  out["seed"] = head.sample < 1 ? ordered_json(head.seed) : ordered_json(nullptr);
  out["config_hash"] = head.config_hash;
  out["started_at"] = to_string(head.started_at);
  out["ended_at"] = to_string(head.ended_at);
  out["tables"] = ordered_json::array();
  for (const TableReport& table : report.tables) out["tables"].push_back(json_of(head, table));
  out["differences"] = ordered_json::array();
  out["unresolved"] = ordered_json::array();
  for (const RowReport& row : report.rows) {
    out[row.kind == "unresolved" ? "unresolved" : "differences"].push_back(json_of(row));
  }
  out["rows_left_out"] = report.rows_left_out;
  out["invariants"] = ordered_json::array();
  for (const InvariantReport& one : invariants) {
    ordered_json examples = ordered_json::array();
    for (const InvariantReport::Example& row : one.examples) {
      ordered_json values = ordered_json::object();
      for (const auto& [column, value] : row) values[column] = json_of(value);
      examples.push_back(std::move(values));
    }
    out["invariants"].push_back(
        {{"name", one.name},
         {"holds", one.holds},
         {"rows", one.rows},
         {"why", one.why.empty() ? ordered_json(nullptr) : ordered_json(one.why)},
         {"examples", std::move(examples)}});
  }
  return out.dump(2, ' ', true, ordered_json::error_handler_t::replace) + "\n";
}

std::string verify_text(const VerifyHead& head, const VerifyReport& report,
                        const std::vector<InvariantReport>& invariants) {
  std::string out =
      fmt::format("{}, at a position between {} and {}\n", word(outcome(report, invariants)),
                  position(head, report.from), position(head, report.to));
  size_t width = 5;
  for (const TableReport& table : report.tables) width = std::max(width, table.table.size());
  out += fmt::format("{:<{}}  {:>12} {:>12} {:>9} {:>9} {:>9} {:>10}\n", "table", width,
                     head.kind == "keys" ? "keys" : "compared", "equal", "missing", "extra",
                     "different", "unresolved");
  for (const TableReport& table : report.tables) {
    out += fmt::format("{:<{}}  {:>12} {:>12} {:>9} {:>9} {:>9} {:>10}\n", printable(table.table),
                       width, table.compared, table.equal, table.missing, table.extra,
                       table.different, table.unresolved);
    out += below(table, width);
    if (!table.why.empty()) out += "  undecided: " + printable(table.why) + "\n";
    if (!table.keyed && table.different > 0) {
      out += "  it has no key: as many rows on both sides, and they are not the same\n";
    }
  }
  for (const InvariantReport& one : invariants) {
    out += fmt::format("invariant {}: {}\n", printable(one.name),
                       one.holds         ? "holds"
                       : one.why.empty() ? fmt::format("violated ({} rows)", one.rows)
                                         : "could not be asked: " + printable(one.why));
    for (const InvariantReport::Example& row : one.examples) {
      NamedKey values;
      for (const auto& [column, value] : row) values.emplace_back(column, value.value_or("NULL"));
      out += "  " + key_text(values) + "\n";
    }
  }
  const size_t shown = std::min(kRowsShown, report.rows.size());
  for (size_t i = 0; i < shown; ++i) out += line_of(report.rows[i]);
  const uint64_t more = report.rows.size() - shown;
  if (more > 0) out += fmt::format("and {} more; --report FILE lists them\n", more);
  if (report.rows_left_out > 0) {
    out += fmt::format("and {} more that are not listed (--list)\n", report.rows_left_out);
  }
  return out;
}

std::string verify_summary(const VerifyReport& report,
                           const std::vector<InvariantReport>& invariants) {
  std::string out;
  const auto add = [&out](const std::string& text) { out += (out.empty() ? "" : "; ") + text; };
  const bool different = outcome(report, invariants) == VerifyOutcome::different;
  for (const TableReport& table : report.tables) {
    const uint64_t rows = table.missing + table.extra + table.different;
    if (different && rows > 0) add(fmt::format("{} rows of {} differ", rows, table.table));
    if (different || !table.undecided()) continue;
    add(table.why.empty()
            ? fmt::format("{} rows of {} kept changing", table.unresolved, table.table)
            : table.table + ": " + table.why);
  }
  for (const InvariantReport& one : invariants) {
    if (one.holds || different != one.why.empty()) continue;
    add("invariant " + one.name + (different ? " is violated" : ": " + one.why));
  }
  return printable(out);
}

// Source: http://www.isthe.com/chongo/tech/comp/fnv/
std::string text_hash(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3;
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace millrace::cli
