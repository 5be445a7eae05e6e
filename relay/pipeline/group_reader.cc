#include "relay/pipeline/group_reader.h"

#include <algorithm>
#include <utility>

#include "relay/base/mutation.h"
#include "relay/wire/control_codec.h"

namespace millrace::pipeline {
namespace {

std::string name_of(const OffsetRange& range) {
  return range.topic + "/" + std::to_string(range.partition) + " [" + std::to_string(range.start) +
         ", " + std::to_string(range.end) + ")";
}

// So many at most are read ahead, of how many ranges ever: as few as arrive in time, since each may
// bring a whole batch of records.
constexpr size_t kNearMost = 32;
// Rows of some megabytes are not kept for later.
constexpr size_t kNearBytes = size_t{8} << 20;

constexpr const char* kStartAfresh =
    "the log lost or changed records; start again from a fresh copy with `millrace teardown` and "
    "`millrace setup`";

}  // namespace

Status SchemaCache::load(log::Reader& reader, const std::vector<SchemaRef>& refs) {
  for (const SchemaRef& ref : refs) {
    if (schemas_.contains(ref.fingerprint)) continue;
    TRY_ASSIGN(const auto entry, reader.control_at(ref.offset));
    TRY_ASSIGN(auto record, wire::decode_control(entry.value));
    auto* schema = std::get_if<SchemaRecord>(&record);
    if (!schema || schema->schema->fingerprint != ref.fingerprint) {
      return fail(ErrorCode::corruption, "manifest offset " + std::to_string(ref.offset) +
                                             " does not hold the schema that a manifest names");
    }
    schemas_.emplace(ref.fingerprint, schema->schema);
  }
  return {};
}

TableSchemaPtr SchemaCache::find(uint64_t fingerprint) const {
  const auto found = schemas_.find(fingerprint);
  return found == schemas_.end() ? nullptr : found->second;
}

// Opening begins the fetch of a range, so that several of them arrive together.
Status GroupReader::open() {
  size_t begun = 0;
  for (const OffsetRange& range : manifest_.ranges) {
    auto source = std::make_unique<Source>();
    source->range = range;
    TRY_ASSIGN(source->cursor, reader_.open(range));
    sources_.push_back(std::move(source));
    if (sources_.size() - begun > kNearMost) TRY(begin(*sources_[begun++]));
  }
  while (begun < sources_.size()) TRY(begin(*sources_[begun++]));
  return {};
}

Status GroupReader::begin(Source& source) {
  TRY_ASSIGN(const bool more, advance(source));
  return more ? place(source) : Status();
}

Status GroupReader::pass_next() {
  Source& source = *near_.back();
  near_.pop_back();
  near_bytes_ -= source.bytes;
  TRY_ASSIGN(const bool more, advance(source));
  return more ? place(source) : let_near();
}

Status GroupReader::place(Source& source) {
  if (!far_.empty() && Later()(&source, far_.top())) {
    let_rest(source);
    return let_near();
  }
  near_.insert(std::lower_bound(near_.begin(), near_.end(), &source, Later()), &source);
  near_bytes_ += source.bytes;
  while (near_.size() > 1 && (near_.size() > kNearMost || near_bytes_ > kNearBytes)) {
    Source& last = *near_.front();
    near_.erase(near_.begin());
    near_bytes_ -= last.bytes;
    let_rest(last);
  }
  return let_near();
}

void GroupReader::let_rest(Source& source) {
  source.cursor->rest();
  source.at_hand = false;
  far_.push(&source);
}

Status GroupReader::let_near() {
  while (!far_.empty()) {
    Source& source = *far_.top();
    const bool fits = near_.size() < kNearMost && near_bytes_ + source.bytes <= kNearBytes;
    if (!near_.empty() && !fits) break;
    far_.pop();
    TRY(source.cursor->prepare());
    near_.insert(near_.begin(), &source);
    near_bytes_ += source.bytes;
  }
  return {};
}

Status GroupReader::fetch_next() {
  Source& source = *near_.back();
  if (source.at_hand) return {};
  TRY_ASSIGN(const auto record, source.cursor->next());
  if (!record || record->offset != source.record.offset) {
    return fail(ErrorCode::corruption,
                "offset " + std::to_string(source.record.offset) + " of " + name_of(source.range) +
                    " was read once and can not be read again",
                kStartAfresh);
  }
  source.record = *record;
  source.at_hand = true;
  return {};
}

Result<bool> GroupReader::advance(Source& source) {
  while (true) {
    TRY_ASSIGN(const auto record, source.cursor->next());
    if (!record) break;
    auto header = wire::peek_row(record->value);
    if (!header) {
      return fail(std::move(header)
                      .error()
                      .at("offset " + std::to_string(record->offset))
                      .at(name_of(source.range)));
    }
    if (header->token != manifest_.token && !mutated("no_manifest_check")) continue;
    source.record = *record;
    source.header = *header;
    source.bytes = record->value.size();
    source.at_hand = true;
    source.seen += 1;
    return true;
  }
  if (source.seen != source.range.rows && !mutated("no_manifest_check")) {
    return fail(ErrorCode::corruption,
                "the log holds " + std::to_string(source.seen) + " rows where the manifest names " +
                    std::to_string(source.range.rows) + " in " + name_of(source.range),
                kStartAfresh);
  }
  source.cursor.reset();  // its last record may keep a whole batch in memory
  return false;
}

Result<bool> GroupReader::fill(ChangeBatch& batch, const Watermark& applied, size_t rows,
                               size_t bytes, std::optional<Lsn> only) {
  while (!near_.empty()) {
    const Source& source = *near_.back();
    if (only && source.header.position.commit_lsn != *only) return true;
    const bool full = batch.size() >= rows || batch.bytes() >= bytes;
    // The tables of one TRUNCATE are consecutive changes and belong into one batch.
    if (full && source.header.op != Op::truncate) return false;
    TRY(fetch_next());
    const bool contained = applied.contains(source.header.position.commit_lsn);
    if (!contained || mutated("no_overlap_check")) {
      const auto lookup = [this](uint64_t fingerprint) { return schemas_.find(fingerprint); };
      if (auto decoded = wire::decode_row(source.record.value, source.header, lookup, batch);
          !decoded) {
        return fail(std::move(decoded)
                        .error()
                        .at("offset " + std::to_string(source.record.offset))
                        .at(name_of(source.range)));
      }
    }
    TRY(pass_next());
  }
  return true;
}

Result<std::optional<Lsn>> GroupReader::next_transaction(const Watermark& applied) {
  while (!near_.empty()) {
    const Lsn commit = near_.back()->header.position.commit_lsn;
    if (!applied.contains(commit)) return commit;
    TRY(fetch_next());
    TRY(pass_next());
  }
  return std::nullopt;
}

}  // namespace millrace::pipeline
