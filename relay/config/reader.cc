#include "relay/config/reader.h"

#include <algorithm>
#include <array>

#include "relay/config/units.h"
#include "relay/config/values.h"

namespace millrace::config {
namespace {

const Option* find_option(std::string_view key) {
  for (const Option& option : options()) {
    if (option.key == key) return &option;
  }
  return nullptr;
}

bool is_section(std::string_view key) {
  const std::string prefix = std::string(key) + ".";
  return std::any_of(options().begin(), options().end(),
                     [&](const Option& option) { return option.key.starts_with(prefix); });
}

bool is_not_built(std::string_view key) {
  const auto keys = keys_not_built();
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

// The names that could stand beside `key`: sections and options under the same prefix.
std::vector<std::string_view> siblings(std::string_view prefix) {
  std::vector<std::string_view> out;
  for (const Option& option : options()) {
    std::string_view rest = option.key;
    if (!rest.starts_with(prefix)) continue;
    rest.remove_prefix(prefix.size());
    rest = rest.substr(0, rest.find('.'));
    if (std::find(out.begin(), out.end(), rest) == out.end()) out.push_back(rest);
  }
  return out;
}

std::string_view last_part(std::string_view key) { return key.substr(key.rfind('.') + 1); }

bool empty_collection(const YamlNode& node) {
  return node.kind == YamlNode::Kind::null ||
         (node.kind == YamlNode::Kind::list && node.items.empty());
}

// What Millrace's promises rest on, or what other options say.
constexpr std::array<std::string_view, 15> kOwnedByMillrace{
    "bootstrap.servers",     "metadata.broker.list", "acks",
    "request.required.acks", "enable.idempotence",   "transactional.id",
    "message.timeout.ms",    "delivery.timeout.ms",  "group.id",
    "enable.auto.commit",    "auto.offset.reset",    "isolation.level",
    "message.max.bytes",     "partitioner",          "enable.partition.eof"};

}  // namespace

std::string suggestion(std::string_view key, const std::vector<std::string_view>& known) {
  std::string_view best;
  size_t least = std::max<size_t>(2, key.size() / 3) + 1;
  for (const auto& name : known) {
    const size_t distance = edit_distance(key, name);
    if (distance < least) {
      least = distance;
      best = name;
    }
  }
  return best.empty() ? "" : "; did you mean \"" + std::string(best) + "\"?";
}

void check_repeats(const YamlNode& mapping, Mistakes& mistakes) {
  std::map<std::string_view, int> seen;
  for (const auto& member : mapping.members) {
    const auto [first, fresh] = seen.emplace(member.key, member.line);
    if (!fresh) {
      mistakes.add(member.line, "key " + quoted(member.key) + " stands in line " +
                                    std::to_string(first->second) + " already");
    }
  }
}

std::string_view kind_name(YamlNode::Kind kind) {
  switch (kind) {
    case YamlNode::Kind::null:
      return "nothing";
    case YamlNode::Kind::scalar:
      return "a single value";
    case YamlNode::Kind::list:
      return "a list";
    case YamlNode::Kind::mapping:
      return "a mapping";
  }
  return "something else";
}

std::string quoted(std::string_view text) {
  constexpr size_t kMost = 80;
  if (text.size() <= kMost) return "\"" + std::string(text) + "\"";
  return "\"" + std::string(text.substr(0, kMost)) + "…\"";
}

void Reader::read(const YamlNode& root) {
  if (root.kind != YamlNode::Kind::mapping) {
    mistakes_.add(root.line,
                  "the file must be a mapping of keys, not " + std::string(kind_name(root.kind)));
    return;
  }
  read_section("", root);
  fill_in();
  check();
}

void Reader::read_section(const std::string& section, const YamlNode& node) {
  if (node.kind == YamlNode::Kind::null) return;  // "apply:" with nothing below: all defaults
  if (node.kind != YamlNode::Kind::mapping) {
    mistakes_.add(node.line, section + ": must be a mapping of keys, not " +
                                 std::string(kind_name(node.kind)));
    return;
  }
  check_repeats(node, mistakes_);
  const std::string prefix = section.empty() ? "" : section + ".";
  for (const auto& member : node.members) read_member(prefix, member);
}

void Reader::read_member(const std::string& prefix, const YamlNode::Member& member) {
  const std::string key = prefix + member.key;
  if (is_not_built(key)) {
    if (!empty_collection(member.value)) mistakes_.add(member.line, key + " is not built yet");
    return;
  }
  if (member.key.find('.') == std::string::npos) {
    if (const Option* option = find_option(key)) {
      if (lines_.emplace(key, member.line).second) read_option(*option, member.value);
      return;
    }
    if (is_section(key)) {
      lines_.emplace(key, member.line);
      read_section(key, member.value);
      return;
    }
  }
  unknown_key(key, member.line);
}

void Reader::read_option(const Option& option, const YamlNode& value) {
  if (std::holds_alternative<SpecialOption>(option.kind)) return read_special(option, value);
  const std::string key(option.key);
  if (value.kind != YamlNode::Kind::scalar) {
    mistakes_.add(value.line,
                  key + ": needs a single value, not " + std::string(kind_name(value.kind)));
    return;
  }
  const auto* secret = std::get_if<SecretOption>(&option.kind);
  const bool dsn = secret != nullptr && secret->connection_string;
  auto text = interpolate(value.text, sources_, dsn ? Quoting::connection_string : Quoting::none);
  if (!text) {
    mistakes_.add(value.line, key + ": " + text.error().message());
    return;
  }
  if (auto problem = set_value(option, config_, *text, value.text); !problem.empty()) {
    mistakes_.add(value.line, problem);
  }
}

void Reader::read_special(const Option& option, const YamlNode& value) {
  if (option.key == "tables") {
    config_.tables = read_tables(value, sources_, mistakes_);
  } else if (option.key == "log.kafka") {
    read_kafka(value);
  } else if (option.key == "verify.schedule") {
    config_.verify.schedule = read_schedule(value, sources_, mistakes_);
  } else if (option.key == "verify.invariants") {
    read_invariants(value);
  } else if (value.kind != YamlNode::Kind::scalar) {
    mistakes_.add(value.line, std::string(option.key) + ": needs host:port or off, not " +
                                  std::string(kind_name(value.kind)));
  } else if (auto text = interpolate(value.text, sources_, Quoting::none)) {
    read_listen(*text, value.text, value.line);
  } else {
    mistakes_.add(value.line, std::string(option.key) + ": " + text.error().message());
  }
}

void Reader::read_kafka(const YamlNode& value) {
  if (value.kind == YamlNode::Kind::null) return;
  if (value.kind != YamlNode::Kind::mapping) {
    mistakes_.add(value.line, "log.kafka: must be a mapping of librdkafka properties, not " +
                                  std::string(kind_name(value.kind)));
    return;
  }
  check_repeats(value, mistakes_);
  for (const auto& member : value.members) {
    const std::string key = "log.kafka: " + member.key;
    if (std::find(kOwnedByMillrace.begin(), kOwnedByMillrace.end(), member.key) !=
        kOwnedByMillrace.end()) {
      mistakes_.add(member.line, key + " is set by Millrace itself; remove it");
    } else if (member.value.kind != YamlNode::Kind::scalar) {
      mistakes_.add(member.line, key + " needs a single value, not " +
                                     std::string(kind_name(member.value.kind)));
    } else if (auto text = interpolate(member.value.text, sources_, Quoting::none)) {
      config_.log.kafka.emplace_back(member.key, Secret(std::move(*text)));
    } else {
      mistakes_.add(member.line, key + ": " + text.error().message());
    }
  }
}

void Reader::read_invariants(const YamlNode& value) {
  if (value.kind == YamlNode::Kind::null) return;
  if (value.kind != YamlNode::Kind::mapping) {
    mistakes_.add(value.line, "verify.invariants: must be a mapping of names to SQL, not " +
                                  std::string(kind_name(value.kind)));
    return;
  }
  check_repeats(value, mistakes_);
  for (const auto& member : value.members) {
    const std::string key = "verify.invariants: " + member.key;
    if (member.value.kind != YamlNode::Kind::scalar || member.value.text.empty()) {
      mistakes_.add(member.line, key + " needs SQL");
    } else if (auto text = interpolate(member.value.text, sources_, Quoting::none)) {
      config_.verify.invariants.emplace_back(member.key, std::move(*text));
    } else {
      mistakes_.add(member.line, key + ": " + text.error().message());
    }
  }
}

void Reader::read_listen(std::string_view text, std::string_view shown, int line) {
  AdminOptions& admin = config_.admin;
  admin.enabled = text != "off";
  if (!admin.enabled) return;
  const size_t colon = text.rfind(':');
  std::string_view host = text.substr(0, std::min(colon, text.size()));
  const std::string_view after = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  const int64_t port = parse_integer(after).value_or(-1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    host = {};
  }
  if (host.empty() || port < 0 || port > 65535) {
    mistakes_.add(line, "admin.listen: " + quoted(shown) +
                            " is neither host:port (IPv6 as [::1]:7070) nor off");
    return;
  }
  admin.host = host;
  admin.port = static_cast<uint16_t>(port);
}

void Reader::unknown_key(const std::string& key, int line) {
  const size_t dot = key.find('.');
  const std::string prefix = dot == std::string::npos ? "" : key.substr(0, dot + 1);
  const std::string name = key.substr(prefix.size());
  std::string message = "unknown key " + quoted(name);
  if (!prefix.empty()) message += " in " + prefix.substr(0, prefix.size() - 1);
  // A key of another section, in the wrong place.
  for (const Option& option : options()) {
    if (last_part(option.key) == name || option.key == name) {
      mistakes_.add(line, message + "; did you mean \"" + std::string(option.key) + "\"?");
      return;
    }
  }
  mistakes_.add(line, message + suggestion(name, siblings(prefix)));
}

int Reader::line_of(std::string_view key) const {
  for (;;) {
    const auto found = lines_.find(key);
    if (found != lines_.end()) return found->second;
    const size_t dot = key.rfind('.');
    if (dot == std::string_view::npos) return 1;
    key = key.substr(0, dot);
  }
}

}  // namespace millrace::config
