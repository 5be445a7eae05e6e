#include <cstring>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "relay/wire/row_codec.h"
#include "relay/wire/row_fields.h"

namespace millrace::wire {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

constexpr size_t kFixedField = 1 + 8;

// Sizes and writes follow proto3: a field that is zero or empty is left out.

constexpr size_t size_of_tag(int field) { return field < 16 ? 1 : 2; }

size_t size_of_number(int field, uint64_t value) {
  return value == 0 ? 0 : size_of_tag(field) + CodedOutputStream::VarintSize64(value);
}

size_t size_of_fixed(uint64_t value) { return value == 0 ? 0 : kFixedField; }

size_t size_of_bytes(int field, size_t bytes) {
  return size_of_tag(field) + CodedOutputStream::VarintSize64(bytes) + bytes;
}

// Of either row: their fields have tags of one size.
size_t size_of_row(Row row) {
  if (row.empty()) return 0;
  size_t size = size_of_bytes(row_field::kAfterKinds, row.size());
  for (const Value& value : row) {
    if (value.kind == ValueKind::text) size += size_of_bytes(row_field::kAfter, value.text.size());
  }
  return size;
}

uint8_t* put_number(int field, uint64_t value, uint8_t* at) {
  return value == 0 ? at : WireFormatLite::WriteUInt64ToArray(field, value, at);
}

uint8_t* put_fixed(int field, uint64_t value, uint8_t* at) {
  return value == 0 ? at : WireFormatLite::WriteFixed64ToArray(field, value, at);
}

uint8_t* put_length(int field, size_t bytes, uint8_t* at) {
  at = WireFormatLite::WriteTagToArray(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED, at);
  return CodedOutputStream::WriteVarint64ToArray(bytes, at);
}

uint8_t* put_row(int kinds_field, int values_field, Row row, uint8_t* at) {
  if (row.empty()) return at;
  at = put_length(kinds_field, row.size(), at);
  for (const Value& value : row) *at++ = static_cast<uint8_t>(value.kind);
  for (const Value& value : row) {
    if (value.kind != ValueKind::text) continue;
    at = put_length(values_field, value.text.size(), at);
    if (value.text.empty()) continue;
    std::memcpy(at, value.text.data(), value.text.size());
    at += value.text.size();
  }
  return at;
}

uint8_t* put_header(const RowStamp& stamp, const Change& change, uint8_t* at) {
  at = put_number(row_field::kFormat, kRowFormat, at);
  at = put_number(row_field::kToken, static_cast<uint64_t>(stamp.token.value), at);
  at = put_number(row_field::kEpoch, stamp.epoch, at);
  at = put_number(row_field::kTimeline, change.position.timeline, at);
  at = put_fixed(row_field::kCommitLsn, change.position.commit_lsn.value, at);
  at = put_number(row_field::kOrdinal, change.position.ordinal, at);
  at = put_fixed(row_field::kCommitTime, static_cast<uint64_t>(stamp.commit_time.value), at);
  at = put_number(row_field::kOp, static_cast<uint64_t>(change.op), at);
  at = put_fixed(row_field::kSchema, change.table->fingerprint, at);
  return put_number(row_field::kXid, stamp.xid, at);
}

size_t size_of_header(const RowStamp& stamp, const Change& change) {
  return size_of_number(row_field::kFormat, kRowFormat) +
         size_of_number(row_field::kToken, static_cast<uint64_t>(stamp.token.value)) +
         size_of_number(row_field::kEpoch, stamp.epoch) +
         size_of_number(row_field::kTimeline, change.position.timeline) +
         size_of_fixed(change.position.commit_lsn.value) +
         size_of_number(row_field::kOrdinal, change.position.ordinal) +
         size_of_fixed(static_cast<uint64_t>(stamp.commit_time.value)) +
         size_of_number(row_field::kOp, static_cast<uint64_t>(change.op)) +
         size_of_fixed(change.table->fingerprint) + size_of_number(row_field::kXid, stamp.xid);
}

uint8_t* put_truncate(const Change& change, uint8_t* at) {
  at = put_number(row_field::kTruncateFirst, change.truncate_first, at);
  at = put_number(row_field::kRestartIdentity, change.restart_identity ? 1 : 0, at);
  if (change.truncated.empty()) return at;
  at = put_length(row_field::kTruncated, change.truncated.size() * 8, at);
  for (const uint64_t table : change.truncated) {
    at = CodedOutputStream::WriteLittleEndian64ToArray(table, at);
  }
  return at;
}

size_t size_of_truncate(const Change& change) {
  const size_t tables = change.truncated.empty()
                            ? 0
                            : size_of_bytes(row_field::kTruncated, change.truncated.size() * 8);
  return tables + size_of_number(row_field::kTruncateFirst, change.truncate_first) +
         size_of_number(row_field::kRestartIdentity, change.restart_identity ? 1 : 0);
}

}  // namespace

void encode_row(const RowStamp& stamp, const Change& change, std::string& out) {
  const bool truncates = change.op == Op::truncate;
  // The exact size first: then nothing grows, and no byte is written past the end.
  out.resize(size_of_header(stamp, change) + size_of_row(change.after) +
             size_of_row(change.before) + (truncates ? size_of_truncate(change) : 0));
  auto* at = reinterpret_cast<uint8_t*>(out.data());
  at = put_header(stamp, change, at);
  at = put_row(row_field::kBeforeKinds, row_field::kBefore, change.before, at);
  at = put_row(row_field::kAfterKinds, row_field::kAfter, change.after, at);
  if (truncates) put_truncate(change, at);
}

}  // namespace millrace::wire
