#include "relay/wire/json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace millrace::wire {
namespace {

using Json = nlohmann::ordered_json;

// ordered_json looks for an equal name at every insertion; names here are known to differ.
void append(Json& object, std::string_view name, Json value) {
  object.get_ref<Json::object_t&>().push_back({std::string(name), std::move(value)});
}

std::string dump(const Json& object) {
  std::string line = object.dump(-1, ' ', true, Json::error_handler_t::replace);
  // DEL is ASCII and no control character to JSON, but it is one to a terminal.
  for (size_t at = line.find('\x7F'); at != std::string::npos; at = line.find('\x7F', at)) {
    line.replace(at, 1, "\\u007f");
  }
  return line;
}

std::string hex(uint64_t fingerprint) { return fmt::format("{:016x}", fingerprint); }

Json to_json(const Value& value) {
  switch (value.kind) {
    case ValueKind::text:
      return std::string(value.text);
    case ValueKind::unchanged:
      return Json{{"unchanged", true}};
    case ValueKind::null:
      break;
  }
  return nullptr;
}

Json to_json(const TableSchema& table, Row row, bool key_only) {
  Json object = Json::object();
  for (size_t i = 0; i < row.size() && i < table.columns.size(); ++i) {
    if (key_only && !table.columns[i].in_key) continue;
    append(object, table.columns[i].name, to_json(row[i]));
  }
  return object;
}

// The old row of an update or delete without FULL holds the key alone: the rest says nothing.
bool before_is_key_only(const TableSchema& table) {
  return table.identity != ReplicaIdentity::full && table.has_key();
}

void append_change(Json& object, const Change& change) {
  append(object, "position", to_string(change.position));
  append(object, "table", display_name(*change.table));
  append(object, "op", std::string(to_string(change.op)));
  if (change.op == Op::truncate) {
    Json tables = Json::array();
    for (const uint64_t table : change.truncated) tables.push_back(hex(table));
    append(object, "truncated", std::move(tables));
    append(object, "restart_identity", change.restart_identity);
    return;
  }
  if (change.table->has_key()) {
    const Row row = change.after.empty() ? change.before : change.after;
    append(object, "key", to_json(*change.table, row, true));
  }
  if (!change.after.empty()) append(object, "after", to_json(*change.table, change.after, false));
  if (!change.before.empty()) {
    append(object, "before",
           to_json(*change.table, change.before, before_is_key_only(*change.table)));
  }
}

Json to_json(const Watermark& watermark) {
  Json object = Json::object();
  append(object, "timeline", watermark.timeline);
  append(object, "end_lsn", to_string(watermark.end_lsn));
  append(object, "commit_lsn", to_string(watermark.commit_lsn));
  append(object, "commit_time", to_string(watermark.commit_time));
  return object;
}

Json to_json(const OffsetRange& range) {
  Json object = Json::object();
  append(object, "topic", range.topic);
  append(object, "partition", range.partition);
  append(object, "start", range.start);
  append(object, "end", range.end);
  append(object, "rows", range.rows);
  return object;
}

std::string_view name_of(ReplicaIdentity identity) {
  switch (identity) {
    case ReplicaIdentity::default_key:
      return "default";
    case ReplicaIdentity::nothing:
      return "nothing";
    case ReplicaIdentity::full:
      return "full";
    case ReplicaIdentity::index:
      return "index";
  }
  return "unknown";
}

Json to_json(const Column& column) {
  Json object = Json::object();
  append(object, "name", column.name);
  append(object, "type_oid", column.type_oid);
  append(object, "type_modifier", column.type_modifier);
  if (!column.type_name.empty()) {
    append(object, "type",
           quote_if_needed(column.type_schema) + "." + quote_if_needed(column.type_name));
  }
  append(object, "in_key", column.in_key);
  return object;
}

void append_record(Json& object, const Claim& claim) {
  append(object, "publisher", claim.publisher);
  append(object, "system_identifier", claim.system_identifier);
  append(object, "timeline", claim.timeline);
  append(object, "slot", claim.slot);
  append(object, "at", to_string(claim.at));
}

void append_record(Json& object, const SchemaRecord& record) {
  append(object, "token", record.token.value);
  append(object, "table", display_name(*record.schema));
  append(object, "fingerprint", hex(record.schema->fingerprint));
  append(object, "identity", std::string(name_of(record.schema->identity)));
  Json columns = Json::array();
  for (const Column& column : record.schema->columns) columns.push_back(to_json(column));
  append(object, "columns", std::move(columns));
}

void append_record(Json& object, const Manifest& manifest) {
  append(object, "token", manifest.token.value);
  append(object, "epoch", manifest.epoch);
  append(object, "system_identifier", manifest.system_identifier);
  append(object, "previous", to_json(manifest.previous));
  append(object, "last", to_json(manifest.last));
  append(object, "origin", manifest.origin);
  append(object, "transactions", manifest.transactions);
  append(object, "rows", manifest.rows);
  Json ranges = Json::array();
  for (const OffsetRange& range : manifest.ranges) ranges.push_back(to_json(range));
  append(object, "ranges", std::move(ranges));
  Json schemas = Json::array();
  for (const SchemaRef& schema : manifest.schemas) {
    Json reference = Json::object();
    append(reference, "fingerprint", hex(schema.fingerprint));
    append(reference, "offset", schema.offset);
    schemas.push_back(std::move(reference));
  }
  append(object, "schemas", std::move(schemas));
  append(object, "published_at", to_string(manifest.published_at));
}

constexpr std::string_view kRecordNames[] = {"claim", "schema", "manifest"};
static_assert(std::variant_size_v<ControlRecord> == std::size(kRecordNames));

}  // namespace

std::string key_to_json(const Change& change) {
  Json object = Json::object();
  const auto& columns = change.table->columns;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (!columns[i].in_key) continue;
    const Row row = change.after.empty() ? change.before : change.after;
    // A long key that an update did not touch stands in the old row.
    const bool elsewhere = row[i].kind == ValueKind::unchanged && !change.before.empty();
    append(object, columns[i].name, to_json(elsewhere ? change.before[i] : row[i]));
  }
  return dump(object);
}

std::string change_to_json(const Change& change) {
  Json object = Json::object();
  append_change(object, change);
  return dump(object);
}

std::string change_to_json(const Change& change, const RowHeader& header,
                           const RecordPlace& place) {
  Json object = Json::object();
  append(object, "topic", std::string(place.topic));
  append(object, "partition", place.partition);
  append(object, "offset", place.offset);
  append(object, "token", header.token.value);
  append(object, "epoch", header.epoch);
  append(object, "commit_time", to_string(header.commit_time));
  append_change(object, change);
  return dump(object);
}

std::string control_to_json(const ControlRecord& record, LogOffset offset) {
  Json object = Json::object();
  append(object, "record", std::string(kRecordNames[record.index()]));
  append(object, "offset", offset);
  std::visit([&object](const auto& chosen) { append_record(object, chosen); }, record);
  return dump(object);
}

}  // namespace millrace::wire
