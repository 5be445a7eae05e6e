// TableSchema: the shape of a source table as the stream described it (a pgoutput Relation
// message).
//
// Immutable once made; shared by the changes that lean on it. Its fingerprint names it in the log:
// two schemas with one fingerprint are the same in every field below but `relation_oid`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace millrace {

// Persisted in schema records: never renumber.
enum class ReplicaIdentity : uint8_t { default_key = 1, nothing = 2, full = 3, index = 4 };

struct Column {
  std::string name;
  uint32_t type_oid = 0;  // built-in types have the same OID on every server
  int32_t type_modifier = -1;
  std::string type_schema;  // from a Type message; both empty for built-in types
  std::string type_name;
  bool in_key = false;  // part of the key that identifies a row in the stream
  bool operator==(const Column&) const = default;
};

struct TableSchema {
  uint32_t relation_oid = 0;
  std::string schema;
  std::string name;
  ReplicaIdentity identity = ReplicaIdentity::default_key;
  std::vector<Column> columns;
  uint64_t fingerprint = 0;  // set by seal_schema

  bool has_key() const;
};

using TableSchemaPtr = std::shared_ptr<const TableSchema>;

// Computes the fingerprint (FNV-1a over every field but the OID, length-prefixed) and freezes it.
TableSchemaPtr seal_schema(TableSchema schema);

// schema.name for messages, quoted where SQL needs it: public."Odd name".
std::string display_name(const TableSchema& schema);
// An identifier as SQL writes it: quoted only when it must be.
std::string quote_if_needed(std::string_view identifier);
// An identifier always in double quotes, embedded ones doubled.
std::string quote_identifier(std::string_view identifier);

}  // namespace millrace
