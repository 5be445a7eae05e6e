#include "relay/wire/control_codec.h"

#include <limits>

#include <fmt/format.h>

#include "proto/millrace.pb.h"

namespace millrace::wire {
namespace {

// Postgres' MaxHeapAttributeNumber.
constexpr int kColumnsMax = 1600;

tl::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::corruption, "control record: " + std::move(what));
}

void encode(const Watermark& from, v1::Watermark& to) {
  to.set_timeline(from.timeline);
  to.set_end_lsn(from.end_lsn.value);
  to.set_commit_lsn(from.commit_lsn.value);
  to.set_commit_time_us(from.commit_time.value);
}

Watermark decode(const v1::Watermark& from) {
  return {from.timeline(), Lsn{from.end_lsn()}, Lsn{from.commit_lsn()},
          TimeMicros{from.commit_time_us()}};
}

void encode(const Claim& from, v1::ControlRecord& record) {
  v1::Claim& to = *record.mutable_claim();
  to.set_publisher(from.publisher);
  to.set_system_identifier(from.system_identifier);
  to.set_timeline(from.timeline);
  to.set_slot(from.slot);
  to.set_at_us(from.at.value);
}

Result<ControlRecord> decode(const v1::Claim& from) {
  return ControlRecord(Claim{from.publisher(), from.system_identifier(), from.timeline(),
                             from.slot(), TimeMicros{from.at_us()}});
}

void encode(const SchemaRecord& from, v1::ControlRecord& record) {
  v1::SchemaRecord& to = *record.mutable_schema();
  const TableSchema& schema = *from.schema;
  to.set_token(from.token.value);
  to.set_fingerprint(schema.fingerprint);
  to.set_relation_oid(schema.relation_oid);
  to.set_schema_name(schema.schema);
  to.set_table_name(schema.name);
  to.set_identity(static_cast<v1::ReplicaIdentity>(schema.identity));
  for (const Column& column : schema.columns) {
    v1::Column& out = *to.add_columns();
    out.set_name(column.name);
    out.set_type_oid(column.type_oid);
    out.set_type_modifier(column.type_modifier);
    out.set_type_schema(column.type_schema);
    out.set_type_name(column.type_name);
    out.set_in_key(column.in_key);
  }
}

Result<ControlRecord> decode(const v1::SchemaRecord& from) {
  if (from.identity() < v1::REPLICA_IDENTITY_DEFAULT ||
      from.identity() > v1::REPLICA_IDENTITY_INDEX) {
    return corrupt(fmt::format("replica identity {} does not exist", int{from.identity()}));
  }
  if (from.columns_size() > kColumnsMax) {
    return corrupt(fmt::format("a table of {} columns", from.columns_size()));
  }
  TableSchema schema;
  schema.relation_oid = from.relation_oid();
  schema.schema = from.schema_name();
  schema.name = from.table_name();
  schema.identity = static_cast<ReplicaIdentity>(from.identity());
  schema.columns.reserve(static_cast<size_t>(from.columns_size()));
  for (const v1::Column& column : from.columns()) {
    schema.columns.push_back({column.name(), column.type_oid(), column.type_modifier(),
                              column.type_schema(), column.type_name(), column.in_key()});
  }
  auto sealed = seal_schema(std::move(schema));
  if (sealed->fingerprint != from.fingerprint()) {
    return corrupt(fmt::format("table shape {:016x} has the fields of {:016x}", from.fingerprint(),
                               sealed->fingerprint));
  }
  return ControlRecord(SchemaRecord{Token{from.token()}, std::move(sealed)});
}

void encode(const Manifest& from, v1::ControlRecord& record) {
  v1::Manifest& to = *record.mutable_manifest();
  to.set_token(from.token.value);
  to.set_epoch(from.epoch);
  to.set_system_identifier(from.system_identifier);
  encode(from.previous, *to.mutable_previous());
  encode(from.last, *to.mutable_last());
  to.set_origin(from.origin);
  to.set_transactions(from.transactions);
  to.set_rows(from.rows);
  for (const OffsetRange& range : from.ranges) {
    v1::OffsetRange& out = *to.add_ranges();
    out.set_topic(range.topic);
    out.set_partition(static_cast<uint32_t>(range.partition));
    out.set_start(range.start);
    out.set_end(range.end);
    out.set_rows(range.rows);
  }
  for (const SchemaRef& schema : from.schemas) {
    v1::SchemaRef& out = *to.add_schemas();
    out.set_fingerprint(schema.fingerprint);
    out.set_offset(schema.offset);
  }
  to.set_published_at_us(from.published_at.value);
}

Result<OffsetRange> decode(const v1::OffsetRange& from) {
  if (from.partition() > static_cast<uint32_t>(std::numeric_limits<int32_t>::max())) {
    return corrupt(fmt::format("partition {}", from.partition()));
  }
  const bool ordered = from.start() >= 0 && from.end() >= from.start();
  if (!ordered || from.rows() > static_cast<uint64_t>(from.end() - from.start())) {
    return corrupt(
        fmt::format("{} rows in the range {}..{}", from.rows(), from.start(), from.end()));
  }
  return OffsetRange{from.topic(), static_cast<int32_t>(from.partition()), from.start(), from.end(),
                     from.rows()};
}

Result<ControlRecord> decode(const v1::Manifest& from) {
  Manifest manifest;
  manifest.token = Token{from.token()};
  manifest.epoch = from.epoch();
  manifest.system_identifier = from.system_identifier();
  manifest.previous = decode(from.previous());
  manifest.last = decode(from.last());
  manifest.origin = from.origin();
  manifest.transactions = from.transactions();
  manifest.rows = from.rows();
  for (const v1::OffsetRange& range : from.ranges()) {
    TRY_ASSIGN(auto decoded, decode(range));
    manifest.ranges.push_back(std::move(decoded));
  }
  for (const v1::SchemaRef& schema : from.schemas()) {
    if (schema.offset() < 0)
      return corrupt(fmt::format("table shape at offset {}", schema.offset()));
    manifest.schemas.push_back({schema.fingerprint(), schema.offset()});
  }
  manifest.published_at = TimeMicros{from.published_at_us()};
  return ControlRecord(std::move(manifest));
}

}  // namespace

std::string encode_control(const ControlRecord& record) {
  v1::ControlRecord out;
  out.set_format(kControlFormat);
  std::visit([&out](const auto& chosen) { encode(chosen, out); }, record);
  return out.SerializeAsString();
}

Result<ControlRecord> decode_control(std::string_view bytes) {
  v1::ControlRecord in;
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
      !in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return corrupt("not a ControlRecord");
  }
  if (in.format() == 0) return corrupt("no format number");
  if (in.format() != kControlFormat) {
    return fail(ErrorCode::refused,
                fmt::format("a control record has format {}; this version reads format {}",
                            in.format(), kControlFormat),
                "a newer millrace wrote it: upgrade this one");
  }
  switch (in.record_case()) {
    case v1::ControlRecord::kClaim:
      return decode(in.claim());
    case v1::ControlRecord::kSchema:
      return decode(in.schema());
    case v1::ControlRecord::kManifest:
      return decode(in.manifest());
    case v1::ControlRecord::RECORD_NOT_SET:
      break;
  }
  // Either nothing, or a kind that a newer version knows; to skip it could be to skip a manifest.
  if (in.ByteSizeLong() <= 2 && bytes.size() <= 2) return corrupt("empty");
  return fail(ErrorCode::refused, "a control record is of a kind that this version does not know",
              "a newer millrace wrote it: upgrade this one");
}

}  // namespace millrace::wire
