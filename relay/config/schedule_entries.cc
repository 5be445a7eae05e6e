// The `verify.schedule` list: what is proven, how often, and of which tables.
#include <algorithm>
#include <array>
#include <cstdlib>

#include <fmt/format.h>

#include "relay/config/reader.h"
#include "relay/config/table_name.h"
#include "relay/config/units.h"

namespace millrace::config {
namespace {

constexpr std::array<std::string_view, 5> kKinds{"rows", "counts", "sample", "drift", "invariants"};
constexpr Millis kLeast{1000};
constexpr Millis kMost{int64_t{366} * 86'400'000};
constexpr double kSamplePercent = 5;

class ScheduleReader {
 public:
  ScheduleReader(const Interpolation& sources, Mistakes& mistakes)
      : sources_(sources), mistakes_(mistakes) {}

  void read(const YamlNode& node, std::vector<ScheduledProof>& out) {
    if (node.kind != YamlNode::Kind::mapping) {
      mistakes_.add(node.line, "verify.schedule: an entry is a mapping of kind and every, not " +
                                   std::string(kind_name(node.kind)));
      return;
    }
    check_repeats(node, mistakes_);
    ScheduledProof entry;
    entry.line = node.line;
    bool kind = false;
    for (const auto& member : node.members) {
      if (member.key == "kind") {
        kind = read_kind(member.value, entry);
      } else if (member.key == "every") {
        read_every(member.value, entry);
      } else if (member.key == "tables") {
        read_names(member.value, entry);
      } else if (member.key == "sample") {
        read_sample(member.value, entry);
      } else {
        std::vector<std::string_view> known;
        for (const EntryKey& key : schedule_entry_keys()) known.push_back(key.key);
        mistakes_.add(member.line, "unknown key " + quoted(member.key) +
                                       " in an entry of verify.schedule" +
                                       suggestion(member.key, known));
      }
    }
    finish(node, kind, entry);
    out.push_back(std::move(entry));
  }

 private:
  void finish(const YamlNode& node, bool kind, ScheduledProof& entry) {
    const auto given = [&node](std::string_view key) {
      return std::any_of(node.members.begin(), node.members.end(),
                         [&](const auto& member) { return member.key == key; });
    };
    if (!given("kind")) mistakes_.add(node.line, "verify.schedule: an entry needs kind");
    if (!given("every")) mistakes_.add(node.line, "verify.schedule: an entry needs every");
    if (!kind) return;
    if (entry.kind == ProofKind::invariants && !entry.tables.empty()) {
      mistakes_.add(node.line, "verify.schedule: invariants belong to no table; remove tables");
    }
    if (entry.kind != ProofKind::sample && given("sample")) {
      mistakes_.add(node.line, "verify.schedule: sample belongs to kind sample");
    }
    if (entry.kind == ProofKind::sample && !given("sample")) entry.sample_percent = kSamplePercent;
  }

  bool read_kind(const YamlNode& node, ScheduledProof& entry) {
    const auto text = scalar(node, "kind");
    if (!text) return false;
    const auto* const found = std::find(kKinds.begin(), kKinds.end(), *text);
    if (found == kKinds.end()) {
      mistakes_.add(node.line, "verify.schedule: kind: " + quoted(node.text) +
                                   " is none of rows | counts | sample | drift | invariants" +
                                   suggestion(*text, {kKinds.begin(), kKinds.end()}));
      return false;
    }
    entry.kind = static_cast<ProofKind>(found - kKinds.begin());
    return true;
  }

  void read_every(const YamlNode& node, ScheduledProof& entry) {
    const auto text = scalar(node, "every");
    if (!text) return;
    const auto every = parse_duration(*text);
    if (!every || *every < kLeast || *every > kMost) {
      mistakes_.add(node.line, "verify.schedule: every: " + quoted(node.text) +
                                   " is not a time from 1s to 366d; write it like 10m");
      return;
    }
    entry.every = *every;
  }

  void read_names(const YamlNode& node, ScheduledProof& entry) {
    if (node.kind != YamlNode::Kind::list || node.items.empty()) {
      mistakes_.add(node.line, "verify.schedule: tables: needs a list of at least one table");
      return;
    }
    for (const YamlNode& item : node.items) {
      const auto text = scalar(item, "tables");
      if (!text) continue;
      auto name = parse_table_name(*text);
      if (name) {
        entry.tables.push_back(std::move(*name));
      } else {
        mistakes_.add(item.line, "verify.schedule: tables: " + quoted(item.text) +
                                     " is no table name: " + name.error().message());
      }
    }
  }

  void read_sample(const YamlNode& node, ScheduledProof& entry) {
    const auto text = scalar(node, "sample");
    if (!text) return;
    char* end = nullptr;
    entry.sample_percent = std::strtod(text->c_str(), &end);
    const std::string_view unit(end);
    if (end == text->c_str() || !(unit == "%" || unit.empty()) ||
        !(entry.sample_percent > 0 && entry.sample_percent <= 100)) {
      mistakes_.add(node.line, "verify.schedule: sample: " + quoted(node.text) +
                                   " is no share; write it like 5%");
    }
  }

  std::optional<std::string> scalar(const YamlNode& node, const std::string& key) {
    if (node.kind != YamlNode::Kind::scalar) {
      mistakes_.add(node.line, "verify.schedule: " + key + ": needs a single value, not " +
                                   std::string(kind_name(node.kind)));
      return std::nullopt;
    }
    auto text = interpolate(node.text, sources_, Quoting::none);
    if (text) return std::move(*text);
    mistakes_.add(node.line, "verify.schedule: " + key + ": " + text.error().message());
    return std::nullopt;
  }

  const Interpolation& sources_;
  Mistakes& mistakes_;
};

}  // namespace

std::string to_string(const ScheduledProof& entry) {
  std::string out(kKinds[static_cast<size_t>(entry.kind)]);
  if (entry.kind == ProofKind::sample) out += fmt::format(" of {:g}%", entry.sample_percent);
  out += " every " + format_duration(entry.every);
  for (size_t i = 0; i < entry.tables.size(); ++i) {
    out += (i == 0 ? " of " : ", ") + to_string(entry.tables[i]);
  }
  return out;
}

std::vector<ScheduledProof> read_schedule(const YamlNode& node, const Interpolation& sources,
                                          Mistakes& mistakes) {
  std::vector<ScheduledProof> out;
  if (node.kind == YamlNode::Kind::null) return out;
  if (node.kind != YamlNode::Kind::list) {
    mistakes.add(node.line,
                 "verify.schedule: needs a list, not " + std::string(kind_name(node.kind)));
    return out;
  }
  ScheduleReader reader(sources, mistakes);
  for (const YamlNode& item : node.items) reader.read(item, out);
  return out;
}

}  // namespace millrace::config
