#include "relay/event/table_schema.h"

#include <algorithm>
#include <string_view>

namespace millrace {
namespace {

class Fnv1a {
 public:
  void add(uint64_t number) {
    for (int i = 0; i < 8; ++i) byte(static_cast<uint8_t>(number >> (8 * i)));
  }
  void add(std::string_view text) {
    add(text.size());
    for (const char c : text) byte(static_cast<uint8_t>(c));
  }
  uint64_t value() const { return hash_; }

 private:
  void byte(uint8_t b) { hash_ = (hash_ ^ b) * 0x100000001B3ULL; }
  uint64_t hash_ = 0xCBF29CE484222325ULL;
};

}  // namespace

bool TableSchema::has_key() const {
  return std::any_of(columns.begin(), columns.end(), [](const Column& c) { return c.in_key; });
}

TableSchemaPtr seal_schema(TableSchema schema) {
  Fnv1a hash;
  hash.add(schema.schema);
  hash.add(schema.name);
  hash.add(static_cast<uint64_t>(schema.identity));
  hash.add(schema.columns.size());
  for (const Column& column : schema.columns) {
    hash.add(column.name);
    hash.add(column.type_oid);
    hash.add(static_cast<uint64_t>(static_cast<int64_t>(column.type_modifier)));
    hash.add(column.type_schema);
    hash.add(column.type_name);
    hash.add(column.in_key ? 1 : 0);
  }
  schema.fingerprint = hash.value();
  return std::make_shared<const TableSchema>(std::move(schema));
}

std::string quote_identifier(std::string_view identifier) {
  std::string out = "\"";
  for (const char c : identifier) {
    if (c == '"') out.push_back('"');
    out.push_back(c);
  }
  out.push_back('"');
  return out;
}

std::string quote_if_needed(std::string_view identifier) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  const bool bare = !identifier.empty() && plain(identifier.front()) &&
                    std::all_of(identifier.begin(), identifier.end(),
                                [&](char c) { return plain(c) || (c >= '0' && c <= '9'); });
  return bare ? std::string(identifier) : quote_identifier(identifier);
}

std::string display_name(const TableSchema& schema) {
  return quote_if_needed(schema.schema) + "." + quote_if_needed(schema.name);
}

}  // namespace millrace
