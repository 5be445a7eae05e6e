// The row record: one change as bytes, wire-compatible with millrace.v1.RowRecord
// (proto/millrace.proto).
//
// Laid by hand with protobuf's own primitives, because generated code would allocate per value.
// Stricter than protobuf in one thing: header fields come first and a row's kinds before its
// values, so that peek_row is cheap; what is out of order is corrupt. Unknown fields are skipped.
// Thread-safe: no state. Source: docs/formats.md.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "relay/base/result.h"
#include "relay/event/change.h"
#include "relay/event/manifest.h"

namespace millrace::wire {

inline constexpr uint32_t kRowFormat = 1;

// What a record says beside its change.
struct RowStamp {
  Token token;
  uint32_t epoch = 1;
  TimeMicros commit_time;  // by the source's clock
  uint32_t xid = 0;        // 0: unknown
};

struct RowHeader {
  Token token;
  uint32_t epoch = 0;
  Position position;
  TimeMicros commit_time;
  uint64_t fingerprint = 0;  // of the table's schema
  Op op = Op::insert;
  uint32_t xid = 0;
  size_t bytes = 0;  // of the record, up to where the header ends
};

// The schema of a fingerprint; null when it is not known.
using SchemaLookup = std::function<TableSchemaPtr(uint64_t fingerprint)>;

// Overwrites `out`; reuses its memory. REQUIRES: change.table, and rows as change.h describes them.
void encode_row(const RowStamp& stamp, const Change& change, std::string& out);

// Reads the header alone. Errors: refused for a format of a newer version, corruption.
Result<RowHeader> peek_row(std::string_view record);

// Adds the change to `out`, whose arena gets its own copy of the values.
// Errors: refused for a format of a newer version; corruption, saying what does not fit, also for a
// fingerprint that `lookup` does not know. `out` then holds no part of the row.
Status decode_row(std::string_view record, const SchemaLookup& lookup, ChangeBatch& out);
// The same for a record whose header peek_row has read.
Status decode_row(std::string_view record, const RowHeader& header, const SchemaLookup& lookup,
                  ChangeBatch& out);

}  // namespace millrace::wire
