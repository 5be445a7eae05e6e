#include "relay/source/quoting.h"

#include <fmt/format.h>

#include "relay/event/table_schema.h"

namespace millrace::source {

std::string quote_replication_literal(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out.push_back('\'');
    out.push_back(c);
  }
  out.push_back('\'');
  return out;
}

std::string create_slot_command(int server_version, std::string_view slot, bool temporary) {
  // The parenthesised options came with 15, and the old words are still taken by some later ones
  // only.
  std::string_view options = " NOEXPORT_SNAPSHOT";
  if (server_version >= 170000 && !temporary) {
    options = " (SNAPSHOT 'nothing', FAILOVER true)";
  } else if (server_version >= 150000) {
    options = " (SNAPSHOT 'nothing')";
  }
  return fmt::format("CREATE_REPLICATION_SLOT {}{} LOGICAL pgoutput{}", quote_identifier(slot),
                     temporary ? " TEMPORARY" : "", options);
}

std::string start_command(int server_version, std::string_view slot, std::string_view publication,
                          Lsn from, bool streaming) {
  return fmt::format(
      "START_REPLICATION SLOT {} LOGICAL {} (proto_version {}, publication_names {}{})",
      quote_identifier(slot), to_string(from), streaming ? "'2', streaming 'on'" : "'1'",
      quote_replication_literal(quote_identifier(publication)),
      server_version >= 140000 ? ", messages 'true'" : "");
}

std::string glob_to_like(std::string_view glob) {
  std::string out;
  for (const char c : glob) {
    switch (c) {
      case '*':
        out.push_back('%');
        break;
      case '?':
        out.push_back('_');
        break;
      case '%':
      case '_':
      case '\\':
        out.push_back('\\');
        out.push_back(c);
        break;
      default:
        out.push_back(c);
    }
  }
  return out;
}

std::string array_literal(std::span<const std::string> elements) {
  std::string out = "{";
  for (const std::string& element : elements) {
    out += out.size() > 1 ? ",\"" : "\"";
    for (const char c : element) {
      if (c == '"' || c == '\\') out.push_back('\\');
      out.push_back(c);
    }
    out.push_back('"');
  }
  return out + "}";
}

}  // namespace millrace::source
