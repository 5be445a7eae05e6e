#include "relay/pipeline/group_reader.h"

#include <utility>

#include "relay/base/mutation.h"
#include "relay/wire/control_codec.h"

namespace millrace::pipeline {
namespace {

std::string name_of(const OffsetRange& range) {
  return range.topic + "/" + std::to_string(range.partition) + " [" + std::to_string(range.start) +
         ", " + std::to_string(range.end) + ")";
}

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

Status GroupReader::open() {
  for (const OffsetRange& range : manifest_.ranges) {
    auto source = std::make_unique<Source>();
    source->range = range;
    TRY_ASSIGN(source->cursor, reader_.open(range));
    sources_.push_back(std::move(source));
  }
  // Opening begins the fetch of a range, so that many of them arrive together.
  for (const auto& source : sources_) {
    TRY_ASSIGN(const bool more, advance(*source));
    if (more) heads_.push(source.get());
  }
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
    source.seen += 1;
    return true;
  }
  if (source.seen != source.range.rows && !mutated("no_manifest_check")) {
    return fail(ErrorCode::corruption,
                "the log holds " + std::to_string(source.seen) + " rows where the manifest names " +
                    std::to_string(source.range.rows) + " in " + name_of(source.range),
                "the log lost or changed records; start again from a fresh copy with "
                "`millrace teardown` and `millrace setup`");
  }
  return false;
}

Result<bool> GroupReader::fill(ChangeBatch& batch, const Watermark& applied, size_t rows,
                               size_t bytes, std::optional<Lsn> only) {
  while (!heads_.empty()) {
    if (only && heads_.top()->header.position.commit_lsn != *only) return true;
    const bool full = batch.size() >= rows || batch.bytes() >= bytes;
    // The tables of one TRUNCATE are consecutive changes and belong into one batch.
    if (full && heads_.top()->header.op != Op::truncate) return false;
    Source* source = heads_.top();
    heads_.pop();
    const bool contained = applied.contains(source->header.position.commit_lsn);
    if (!contained || mutated("no_overlap_check")) {
      const auto lookup = [this](uint64_t fingerprint) { return schemas_.find(fingerprint); };
      if (auto decoded = wire::decode_row(source->record.value, source->header, lookup, batch);
          !decoded) {
        return fail(std::move(decoded)
                        .error()
                        .at("offset " + std::to_string(source->record.offset))
                        .at(name_of(source->range)));
      }
    }
    TRY_ASSIGN(const bool more, advance(*source));
    if (more) heads_.push(source);
  }
  return true;
}

Result<std::optional<Lsn>> GroupReader::next_transaction(const Watermark& applied) {
  while (!heads_.empty()) {
    Source* source = heads_.top();
    const Lsn commit = source->header.position.commit_lsn;
    if (!applied.contains(commit)) return commit;
    heads_.pop();
    TRY_ASSIGN(const bool more, advance(*source));
    if (more) heads_.push(source);
  }
  return std::nullopt;
}

}  // namespace millrace::pipeline
