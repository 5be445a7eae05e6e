// Reader: fills a Config from a YAML tree by the table of options, collecting every mistake.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "relay/config/config.h"
#include "relay/config/interpolate.h"
#include "relay/config/mistakes.h"
#include "relay/config/options.h"
#include "relay/config/yaml_tree.h"

namespace millrace::config {

class Reader {
 public:
  // All references must outlive the reader.
  Reader(Config& config, const Interpolation& sources, Mistakes& mistakes)
      : config_(config), sources_(sources), mistakes_(mistakes) {}

  // Reads everything, then fills in defaults. What was wrong is left at its default.
  void read(const YamlNode& root);

 private:
  void read_section(const std::string& section, const YamlNode& node);
  void read_member(const std::string& prefix, const YamlNode::Member& member);
  void read_option(const Option& option, const YamlNode& value);
  void read_special(const Option& option, const YamlNode& value);
  void read_kafka(const YamlNode& value);
  void read_invariants(const YamlNode& value);
  // `shown` is what stands in the file and may be repeated in a message.
  void read_listen(std::string_view text, std::string_view shown, int line);
  void unknown_key(const std::string& key, int line);
  void fill_in();
  void fill_in_dependent();
  void check();
  void check_memory();
  void check_log();
  void check_tables();
  void check_schedule();

  bool given(std::string_view key) const { return lines_.contains(key); }
  int line_of(std::string_view key) const;

  Config& config_;
  const Interpolation& sources_;
  Mistakes& mistakes_;
  std::map<std::string, int, std::less<>> lines_;  // of every key that was given
};

// The `tables` list (table_entries.cc).
std::vector<TableEntry> read_tables(const YamlNode& node, const Interpolation& sources,
                                    Mistakes& mistakes);

// The `verify.schedule` list (schedule_entries.cc).
std::vector<ScheduledProof> read_schedule(const YamlNode& node, const Interpolation& sources,
                                          Mistakes& mistakes);

// `did you mean "x"?` for the nearest of `known`, or nothing when none is near.
std::string suggestion(std::string_view key, const std::vector<std::string_view>& known);

// Reports keys that stand twice in a mapping.
void check_repeats(const YamlNode& mapping, Mistakes& mistakes);

// "a list", for messages.
std::string_view kind_name(YamlNode::Kind kind);

// Shortened and in quotes, for messages.
std::string quoted(std::string_view text);

}  // namespace millrace::config
