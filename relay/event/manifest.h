// The control records of a pipeline's manifest topic: claim, schema, manifest.
//
// Invariant: a row is published when a valid manifest names it, and not before. A manifest is valid
// when its token is the offset of the latest claim that stands before it in the topic. Encoded by
// relay/wire/control_codec.h; the protocol is modelled in docs/model.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "relay/base/ids.h"
#include "relay/event/table_schema.h"

namespace millrace {

using LogOffset = int64_t;

// A publisher's right to publish: the offset of its claim.
struct Token {
  LogOffset value = -1;
  bool operator==(const Token&) const = default;
};

// Appended by whoever begins to publish, after it has taken the slot.
struct Claim {
  std::string publisher;          // host, process and a random part: for people
  std::string system_identifier;  // of the source cluster
  uint32_t timeline = 0;
  std::string slot;
  TimeMicros at;  // wall clock of the publisher
};

// A table's shape, named by manifests through (fingerprint, offset).
struct SchemaRecord {
  Token token;
  TableSchemaPtr schema;
};

struct SchemaRef {
  uint64_t fingerprint = 0;
  LogOffset offset = -1;  // of its SchemaRecord in the manifest topic
  bool operator==(const SchemaRef&) const = default;
};

// Half-open: [start, end) of one data partition, holding exactly `rows` records of the manifest's
// token (others inside belong to failed attempts or zombies and are skipped).
struct OffsetRange {
  std::string topic;
  int32_t partition = 0;
  LogOffset start = 0;
  LogOffset end = 0;
  uint64_t rows = 0;
  bool operator==(const OffsetRange&) const = default;
};

// Publishes a commit group: whole source transactions, in commit order.
struct Manifest {
  Token token;
  uint32_t epoch = 1;
  std::string system_identifier;
  // The watermark that the group continues from. An applier must stand at or after it: below is a
  // gap.
  Watermark previous;
  // What the group reaches; equal to `previous` in a repeated or an origin manifest.
  Watermark last;
  // True for the first manifest of a stream whose slot was created for it: a target that has
  // applied nothing may begin here, and only here.
  bool origin = false;
  uint64_t transactions = 0;
  uint64_t rows = 0;
  std::vector<OffsetRange> ranges;  // empty when only the watermark moves
  std::vector<SchemaRef> schemas;   // of every table that has rows in the group
  TimeMicros published_at;          // wall clock of the publisher
};

using ControlRecord = std::variant<Claim, SchemaRecord, Manifest>;

// "1:0/16B3748..1:0/16B3900, 12 rows of 3 transactions"
std::string describe(const Manifest& manifest);

}  // namespace millrace
