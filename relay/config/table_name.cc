#include "relay/config/table_name.h"

#include <string>

namespace millrace::config {
namespace {

constexpr size_t kIdentifierMost = 63;  // NAMEDATALEN - 1

bool is_wildcard(char c) { return c == '*' || c == '?'; }

bool starts_identifier(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool continues_identifier(char c) {
  return starts_identifier(c) || (c >= '0' && c <= '9') || c == '$';
}

char fold(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Reads one identifier from the front of `text`.
Result<std::string> take_part(std::string_view& text, bool wildcards) {
  std::string out;
  if (text.starts_with('"')) {
    size_t at = 1;
    for (;; ++at) {
      if (at >= text.size()) return fail(ErrorCode::config, "a double quote is not closed");
      if (text[at] == '"') {
        if (at + 1 < text.size() && text[at + 1] == '"') {
          ++at;
        } else {
          break;
        }
      }
      if (text[at] == '\0') return fail(ErrorCode::config, "a NUL byte is not allowed");
      out += text[at];
    }
    text.remove_prefix(at + 1);
  } else {
    size_t at = 0;
    while (at < text.size() &&
           (continues_identifier(text[at]) || (wildcards && is_wildcard(text[at])))) {
      out += fold(text[at]);
      ++at;
    }
    if (at > 0 && !starts_identifier(text[0]) && !is_wildcard(text[0])) {
      return fail(ErrorCode::config, "a name that starts with a digit or $ needs double quotes");
    }
    text.remove_prefix(at);
  }
  if (out.empty()) return fail(ErrorCode::config, "a part of the name is empty");
  if (out.size() > kIdentifierMost) {
    return fail(ErrorCode::config, "a part of the name is longer than 63 bytes");
  }
  return out;
}

Result<TableName> parse(std::string_view text, bool wildcards) {
  std::string_view rest = text;
  TableName name;
  TRY_ASSIGN(name.name, take_part(rest, wildcards));
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    name.schema = std::move(name.name);
    TRY_ASSIGN(name.name, take_part(rest, wildcards));
  } else {
    name.schema = "public";
  }
  if (rest.starts_with('.')) {
    return fail(ErrorCode::config, "a name has at most two parts, schema.table");
  }
  if (!rest.empty()) {
    if (!wildcards && is_wildcard(rest[0])) {
      return fail(ErrorCode::config, "a wildcard needs `- pattern: …`");
    }
    return fail(ErrorCode::config, "a name with spaces or signs needs double quotes, as in SQL");
  }
  return name;
}

// An identifier as SQL writes it; wildcards stay as they are.
std::string shown(std::string_view part) {
  bool bare = !part.empty() && !(part[0] >= '0' && part[0] <= '9');
  for (const char c : part) {
    bare = bare && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || is_wildcard(c));
  }
  if (bare) return std::string(part);
  std::string out = "\"";
  for (const char c : part) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

}  // namespace

std::string to_string(const TableName& name) { return shown(name.schema) + "." + shown(name.name); }

Result<TableName> parse_table_name(std::string_view text) { return parse(text, false); }

Result<TableName> parse_table_pattern(std::string_view text) { return parse(text, true); }

}  // namespace millrace::config
