// The `tables` list: names, patterns, and mappings of one table each.
#include <algorithm>

#include "relay/config/reader.h"
#include "relay/config/table_name.h"

namespace millrace::config {
namespace {

class EntryReader {
 public:
  EntryReader(const Interpolation& sources, Mistakes& mistakes)
      : sources_(sources), mistakes_(mistakes) {}

  // nullopt when the entry is too wrong to be looked at further; the mistake is noted.
  std::optional<TableEntry> read(const YamlNode& node) {
    TableEntry entry;
    entry.line = node.line;
    if (node.kind == YamlNode::Kind::scalar) {
      if (!read_name(node, "tables", false, entry.from)) return std::nullopt;
      entry.to = entry.from;
      return entry;
    }
    if (node.kind != YamlNode::Kind::mapping) {
      mistakes_.add(node.line, "tables: an entry is a name or a mapping, not " +
                                   std::string(kind_name(node.kind)));
      return std::nullopt;
    }
    check_repeats(node, mistakes_);
    const YamlNode* from = nullptr;
    const YamlNode* pattern = nullptr;
    const YamlNode* to = nullptr;
    for (const auto& member : node.members) {
      if (member.key == "from") {
        from = &member.value;
      } else if (member.key == "pattern") {
        pattern = &member.value;
      } else if (member.key == "to") {
        to = &member.value;
      } else {
        read_other(member, entry);
      }
    }
    return finish(node, entry, from, pattern, to);
  }

 private:
  std::optional<TableEntry> finish(const YamlNode& node, TableEntry entry, const YamlNode* from,
                                   const YamlNode* pattern, const YamlNode* to) {
    if ((from == nullptr) == (pattern == nullptr)) {
      mistakes_.add(node.line, "tables: an entry needs either from or pattern");
      return std::nullopt;
    }
    entry.pattern = pattern != nullptr;
    const YamlNode& name = entry.pattern ? *pattern : *from;
    if (!read_name(name, entry.pattern ? "pattern" : "from", entry.pattern, entry.from)) {
      return std::nullopt;
    }
    entry.to = entry.from;
    if (to != nullptr && entry.pattern) {
      mistakes_.add(to->line, "tables: a pattern's tables keep their names; remove `to`");
    } else if (to != nullptr && !read_name(*to, "to", false, entry.to)) {
      return std::nullopt;
    }
    return entry;
  }

  void read_other(const YamlNode::Member& member, TableEntry& entry) {
    if (member.key == "create") {
      read_create(member.value, entry);
    } else if (member.key == "where") {
      if (auto text = scalar(member.value, "where")) {
        if (text->empty()) mistakes_.add(member.line, "where: is empty; remove it for every row");
        entry.where = std::move(*text);
      }
    } else if (member.key == "map") {
      read_map(member.value, entry);
    } else {
      std::vector<std::string_view> known;
      for (const EntryKey& key : table_entry_keys()) known.push_back(key.key);
      mistakes_.add(member.line, "unknown key " + quoted(member.key) + " in an entry of tables" +
                                     suggestion(member.key, known));
    }
  }

  void read_create(const YamlNode& node, TableEntry& entry) {
    const auto text = scalar(node, "create");
    if (!text) return;
    entry.create = *text == "true" || *text == "on" || *text == "yes";
    if (!entry.create && *text != "false" && *text != "off" && *text != "no") {
      mistakes_.add(node.line, "create: " + quoted(node.text) + " is neither true nor false");
    }
  }

  void read_map(const YamlNode& node, TableEntry& entry) {
    if (node.kind != YamlNode::Kind::mapping) {
      mistakes_.add(node.line, "map: must be a mapping of target columns to SQL, not " +
                                   std::string(kind_name(node.kind)));
      return;
    }
    check_repeats(node, mistakes_);
    for (const auto& member : node.members) {
      ColumnMapping column;
      column.column = member.key;
      if (column.column.empty() || column.column.size() > 63) {
        mistakes_.add(member.line, "map: a column name must be 1 to 63 bytes");
        continue;
      }
      if (member.value.kind != YamlNode::Kind::null) {
        column.sql = scalar(member.value, "map: " + member.key);
        if (!column.sql) continue;
        if (column.sql->empty()) {
          mistakes_.add(member.line,
                        "map: " + member.key + " is empty; write SQL, or ~ to leave it out");
          continue;
        }
      }
      entry.map.push_back(std::move(column));
    }
  }

  bool read_name(const YamlNode& node, std::string_view key, bool pattern, TableName& to) {
    const auto text = scalar(node, std::string(key));
    if (!text) return false;
    auto name = pattern ? parse_table_pattern(*text) : parse_table_name(*text);
    if (!name) {
      mistakes_.add(node.line, std::string(key) + ": " + quoted(node.text) +
                                   " is no table name: " + name.error().message());
      return false;
    }
    to = std::move(*name);
    return true;
  }

  std::optional<std::string> scalar(const YamlNode& node, const std::string& key) {
    if (node.kind != YamlNode::Kind::scalar) {
      mistakes_.add(node.line,
                    key + ": needs a single value, not " + std::string(kind_name(node.kind)));
      return std::nullopt;
    }
    auto text = interpolate(node.text, sources_, Quoting::none);
    if (!text) {
      mistakes_.add(node.line, key + ": " + text.error().message());
      return std::nullopt;
    }
    return std::move(*text);
  }

  const Interpolation& sources_;
  Mistakes& mistakes_;
};

}  // namespace

std::vector<TableEntry> read_tables(const YamlNode& node, const Interpolation& sources,
                                    Mistakes& mistakes) {
  std::vector<TableEntry> out;
  if (node.kind != YamlNode::Kind::list || node.items.empty()) {
    mistakes.add(node.line, "tables: needs a list of at least one table");
    return out;
  }
  EntryReader reader(sources, mistakes);
  for (const YamlNode& item : node.items) {
    if (auto entry = reader.read(item)) out.push_back(std::move(*entry));
  }
  return out;
}

}  // namespace millrace::config
