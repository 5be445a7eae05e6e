#include "relay/config/rules.h"

#include <algorithm>
#include <array>
#include <vector>

#include "relay/config/units.h"

namespace millrace::config::rules {
namespace {

bool lower_name(std::string_view value, size_t most) {
  return !value.empty() && value.size() <= most &&
         std::all_of(value.begin(), value.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

bool legal_in_topic(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

// Splits a template into the placeholders it holds; a problem when it holds anything else in
// braces, a character that Kafka does not take, or two placeholders without a dot between them
// (then two tables could share a topic: "a_b"."c" and "a"."b_c").
std::string placeholders(std::string_view value, std::vector<std::string_view>& found) {
  size_t at = 0;
  bool dot = true;
  while (at < value.size()) {
    if (value[at] == '{') {
      const size_t end = value.find('}', at);
      if (end == std::string_view::npos) return "has a { without its }";
      if (!dot) return "needs a dot between any two placeholders";
      found.push_back(value.substr(at + 1, end - at - 1));
      dot = false;
      at = end + 1;
      continue;
    }
    if (!legal_in_topic(value[at])) return "may hold only letters, digits, '.', '_' and '-'";
    dot = dot || value[at] == '.';
    ++at;
  }
  return {};
}

std::string check_template(std::string_view value, const std::vector<std::string_view>& needed) {
  if (value.size() > 200) return "is longer than 200 bytes";
  std::vector<std::string_view> found;
  if (auto problem = placeholders(value, found); !problem.empty()) return problem;
  for (const auto& name : found) {
    if (std::find(needed.begin(), needed.end(), name) == needed.end()) {
      return "does not know the placeholder {" + std::string(name) + "}";
    }
  }
  for (const auto& name : needed) {
    if (std::count(found.begin(), found.end(), name) != 1) {
      return "must hold {" + std::string(name) + "} once, or topics would be shared";
    }
  }
  return {};
}

}  // namespace

std::string pipeline_name(std::string_view value) {
  return lower_name(value, 40) ? "" : "must be 1 to 40 of a-z, 0-9 and _";
}

std::string slot_name(std::string_view value) {
  return lower_name(value, 63) ? "" : "must be 1 to 63 of a-z, 0-9 and _, as Postgres asks";
}

std::string identifier(std::string_view value) {
  return !value.empty() && value.size() <= 63 ? "" : "must be 1 to 63 bytes";
}

std::string anything(std::string_view) { return {}; }

std::string path(std::string_view value) { return value.empty() ? "must not be empty" : ""; }

// No user or password in it: the answer's place is the status, which everybody may read.
std::string http_url(std::string_view value) {
  constexpr std::string_view kScheme = "http://";
  if (value.empty()) return {};
  if (value.starts_with("https://")) {
    return "must begin with http://: this program has no TLS for it; name a place on this machine "
           "that asks on";
  }
  if (!value.starts_with(kScheme)) return "must be http://host[:port][/path]";
  if (std::any_of(value.begin(), value.end(), [](char c) { return c <= ' ' || c == 0x7f; })) {
    return "must be ASCII without blanks or control characters";
  }
  value.remove_prefix(kScheme.size());
  const std::string_view server = value.substr(0, value.find_first_of("/?#"));
  if (server.find('@') != std::string_view::npos) return "must not have a user or password in it";
  const size_t colon = server.find(':', server.starts_with('[') ? server.find(']') : 0);
  if (server.empty() || colon == 0) return "must be http://host[:port][/path]";
  if (colon == std::string_view::npos) return {};
  const auto port = parse_integer(server.substr(colon + 1));
  return port && *port >= 1 && *port <= 65535 ? "" : "must have a port of 1 to 65535";
}

std::string brokers(std::string_view value) {
  if (value.empty()) return {};
  size_t start = 0;
  while (start <= value.size()) {
    const size_t comma = std::min(value.find(',', start), value.size());
    std::string_view one = value.substr(start, comma - start);
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    const size_t colon = one.rfind(':');
    const auto port = colon == std::string_view::npos ? std::optional<int64_t>{9092}
                                                      : parse_integer(one.substr(colon + 1));
    if (one.empty() || colon == 0 || !port || *port < 1 || *port > 65535) {
      return "must be host:port, several separated by commas";
    }
    start = comma + 1;
  }
  return {};
}

std::string topic_template(std::string_view value) {
  return check_template(value, {"pipeline", "schema", "table"});
}

std::string manifest_topic(std::string_view value) { return check_template(value, {"pipeline"}); }

}  // namespace millrace::config::rules
