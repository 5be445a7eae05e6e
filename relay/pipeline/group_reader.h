// GroupReader: the rows of one manifest, in source order, from the ranges it names.
//
// Every partition holds a group's rows in source order; merging them by position gives back the
// order of the source. Records of other tokens inside a range (failed attempts, zombies) are
// skipped; what is left must be exactly as many as the manifest says.
//
// A transaction may go to thousands of partitions. Where each of them stands is known, so only the
// few whose rows come next are read ahead; the others rest (kNearMost).
//
// One thread. Borrows `reader` and `schemas`, which must outlive it.
#pragma once

#include <memory>
#include <optional>
#include <queue>
#include <unordered_map>
#include <vector>

#include "relay/base/result.h"
#include "relay/event/change.h"
#include "relay/event/manifest.h"
#include "relay/log/log.h"
#include "relay/wire/row_codec.h"

namespace millrace::pipeline {

// Schemas by fingerprint, read from the manifest topic where they are not known yet. One thread.
class SchemaCache {
 public:
  // Errors: refused when the record is gone, corruption when it is something else.
  Status load(log::Reader& reader, const std::vector<SchemaRef>& refs);
  TableSchemaPtr find(uint64_t fingerprint) const;

 private:
  std::unordered_map<uint64_t, TableSchemaPtr> schemas_;
};

class GroupReader {
 public:
  GroupReader(log::Reader& reader, const SchemaCache& schemas, const Manifest& manifest)
      : reader_(reader), schemas_(schemas), manifest_(manifest) {}

  // Opens the ranges. Errors: refused when a range is gone.
  Status open();
  // Adds rows until the batch holds `rows` or `bytes`, or the group ends (then true). Rows of
  // transactions that `applied` contains are counted and left out.
  // `only`: ends (then true) behind that transaction, by its commit LSN, which is the next one.
  // Errors: corruption naming the range when records do not fit the manifest.
  Result<bool> fill(ChangeBatch& batch, const Watermark& applied, size_t rows, size_t bytes,
                    std::optional<Lsn> only = std::nullopt);
  // The commit LSN of the next transaction that `applied` does not contain; nullopt at the end.
  Result<std::optional<Lsn>> next_transaction(const Watermark& applied);

 private:
  struct Source {
    OffsetRange range;
    std::unique_ptr<log::RangeCursor> cursor;
    log::LogRecord record;
    wire::RowHeader header;  // of the next row, whether `record` is there or not
    size_t bytes = 0;        // of that row
    bool at_hand = false;    // `record` is there; otherwise the cursor gives it again
    uint64_t seen = 0;
  };
  struct Later {
    bool operator()(const Source* a, const Source* b) const {
      return b->header.position < a->header.position;
    }
  };

  // Moves to the next record of the manifest's token; false at the end of the range.
  Result<bool> advance(Source& source);
  // Advances to the source's first row; from the row that comes next of all.
  Status begin(Source& source);
  Status pass_next();
  // Sees to it that the next row is at hand, which it is not where its source has rested.
  Status fetch_next();
  // Where its next row belongs: near, or among those that rest.
  Status place(Source& source);
  // As many of those that rest as there is room for.
  Status let_near();
  void let_rest(Source& source);

  log::Reader& reader_;
  const SchemaCache& schemas_;
  const Manifest& manifest_;
  std::vector<std::unique_ptr<Source>> sources_;
  std::vector<Source*> near_;  // the next one is at the back
  size_t near_bytes_ = 0;      // of their next rows
  // These rest. Every one of them comes after every one that is near.
  std::priority_queue<Source*, std::vector<Source*>, Later> far_;
};

}  // namespace millrace::pipeline
