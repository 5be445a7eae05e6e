#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "relay/wire/row_codec.h"
#include "relay/wire/row_fields.h"
#include "relay/wire/row_values.h"

namespace millrace::wire {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr uint32_t varint_tag(int field) {
  return WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_VARINT);
}
constexpr uint32_t fixed_tag(int field) {
  return WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_FIXED64);
}
constexpr uint32_t bytes_tag(int field) {
  return WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}

// What a record's header said, before it is judged.
struct RawHeader {
  uint32_t format = 0;
  uint32_t op = 0;
  RowHeader header = {Token{0}, 0, {}, {}, 0, Op::insert, 0, 0};  // absent means zero
};

tl::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::corruption, "row record: " + std::move(what));
}

bool read_number(CodedInputStream& in, uint32_t& out) { return in.ReadVarint32(&out); }

// A field of the header; false when it is cut short. REQUIRES: the tag's field is 1 to
// kLastOfHeader.
bool read_header_field(CodedInputStream& in, uint32_t tag, RawHeader& raw) {
  RowHeader& header = raw.header;
  uint64_t wide = 0;
  switch (tag) {
    case varint_tag(row_field::kFormat):
      return read_number(in, raw.format);
    case varint_tag(row_field::kToken):
      if (!in.ReadVarint64(&wide)) return false;
      header.token.value = static_cast<LogOffset>(wide);
      return true;
    case varint_tag(row_field::kEpoch):
      return read_number(in, header.epoch);
    case varint_tag(row_field::kTimeline):
      return read_number(in, header.position.timeline);
    case fixed_tag(row_field::kCommitLsn):
      return in.ReadLittleEndian64(&header.position.commit_lsn.value);
    case varint_tag(row_field::kOrdinal):
      return read_number(in, header.position.ordinal);
    case fixed_tag(row_field::kCommitTime):
      if (!in.ReadLittleEndian64(&wide)) return false;
      header.commit_time.value = static_cast<int64_t>(wide);
      return true;
    case varint_tag(row_field::kOp):
      return read_number(in, raw.op);
    case fixed_tag(row_field::kSchema):
      return in.ReadLittleEndian64(&header.fingerprint);
    case varint_tag(row_field::kXid):
      return read_number(in, header.xid);
    default:
      return WireFormatLite::SkipField(&in, tag);
  }
}

// Judges a header that was read whole.
Result<RowHeader> finish_header(RawHeader& raw) {
  if (raw.format == 0) return corrupt("no format number");
  if (raw.format != kRowFormat) {
    return fail(ErrorCode::refused,
                fmt::format("a row record has format {}; this version reads format {}", raw.format,
                            kRowFormat),
                "a newer millrace wrote it: upgrade this one");
  }
  if (raw.op < 1 || raw.op > static_cast<uint32_t>(Op::truncate)) {
    return corrupt(fmt::format("operation {} does not exist", raw.op));
  }
  raw.header.op = static_cast<Op>(raw.op);
  return raw.header;
}

Result<int> checked_size(std::string_view record) {
  if (record.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return corrupt(fmt::format("{} bytes are more than a record can have", record.size()));
  }
  return static_cast<int>(record.size());
}

// One record on its way into a batch.
class RowDecoder {
 public:
  RowDecoder(std::string_view record, int size, const SchemaLookup& lookup, ChangeBatch& out)
      : in_(reinterpret_cast<const uint8_t*>(record.data()), size), lookup_(lookup), out_(out) {}

  Status run();
  // For what stands behind a header that was read already.
  Status run_behind(const RowHeader& header);

 private:
  static tl::unexpected<Error> cut_short(int field);
  Status end_header();
  Status find_table();
  bool read_bytes(std::string_view& bytes);
  Status read_body_field(uint32_t tag, int field);
  Status read_truncated(std::string_view bytes);
  // The rows that an operation has and has not; see change.h. A table may have no columns.
  Status check_rows() const;
  Status check_truncate() const;
  Status finish();

  CodedInputStream in_;
  const SchemaLookup& lookup_;
  ChangeBatch& out_;
  RawHeader raw_;
  RowHeader header_;
  TableSchemaPtr table_;  // set when the header has ended
  RowValues after_{"new row"};
  RowValues before_{"old row"};
  std::vector<uint64_t> truncated_;
  uint32_t truncate_first_ = 0;
  bool restart_identity_ = false;
};

Status RowDecoder::run() {
  while (const uint32_t tag = in_.ReadTag()) {
    const int field = WireFormatLite::GetTagFieldNumber(tag);
    if (field <= row_field::kLastOfHeader) {
      if (table_) return corrupt(fmt::format("field {} stands behind the header", field));
      if (!read_header_field(in_, tag, raw_)) return cut_short(field);
      continue;
    }
    if (!table_) TRY(end_header());
    TRY(read_body_field(tag, field));
  }
  if (!in_.ConsumedEntireMessage()) return corrupt("ends inside a field or has field number 0");
  if (!table_) TRY(end_header());
  return finish();
}

Status RowDecoder::run_behind(const RowHeader& header) {
  header_ = header;
  TRY(find_table());
  return run();
}

tl::unexpected<Error> RowDecoder::cut_short(int field) {
  return corrupt(fmt::format("field {} is cut short or malformed", field));
}

Status RowDecoder::end_header() {
  TRY_ASSIGN(header_, finish_header(raw_));
  return find_table();
}

Status RowDecoder::find_table() {
  table_ = lookup_(header_.fingerprint);
  if (table_) return {};
  return corrupt(fmt::format("its table shape {:016x} is not one that the manifest names",
                             header_.fingerprint));
}

bool RowDecoder::read_bytes(std::string_view& bytes) {
  int size = 0;
  if (!in_.ReadVarintSizeAsInt(&size)) return false;
  const void* data = nullptr;
  int available = 0;
  in_.GetDirectBufferPointerInline(&data, &available);
  if (size > available) return false;
  bytes = {static_cast<const char*>(data), static_cast<size_t>(size)};
  return in_.Skip(size);
}

Status RowDecoder::read_body_field(uint32_t tag, int field) {
  std::string_view bytes;
  uint64_t number = 0;
  switch (tag) {
    case bytes_tag(row_field::kAfterKinds):
      return read_bytes(bytes) ? after_.set_kinds(bytes, *table_, out_.arena()) : cut_short(field);
    case bytes_tag(row_field::kAfter):
      return read_bytes(bytes) ? after_.add(bytes) : cut_short(field);
    case bytes_tag(row_field::kBeforeKinds):
      return read_bytes(bytes) ? before_.set_kinds(bytes, *table_, out_.arena()) : cut_short(field);
    case bytes_tag(row_field::kBefore):
      return read_bytes(bytes) ? before_.add(bytes) : cut_short(field);
    case bytes_tag(row_field::kTruncated):
      return read_bytes(bytes) ? read_truncated(bytes) : cut_short(field);
    case fixed_tag(row_field::kTruncated):  // not packed: legal protobuf
      if (!in_.ReadLittleEndian64(&number)) return cut_short(field);
      truncated_.push_back(number);
      return {};
    case varint_tag(row_field::kTruncateFirst):
      if (!read_number(in_, truncate_first_)) return cut_short(field);
      return {};
    case varint_tag(row_field::kRestartIdentity):
      if (!in_.ReadVarint64(&number)) return cut_short(field);
      restart_identity_ = number != 0;
      return {};
    default:
      if (!WireFormatLite::SkipField(&in_, tag)) return cut_short(field);
      return {};
  }
}

Status RowDecoder::read_truncated(std::string_view bytes) {
  if (bytes.size() % 8 != 0) return corrupt("list of truncated tables is cut short");
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  for (const auto* end = data + bytes.size(); data != end;) {
    uint64_t table = 0;
    data = CodedInputStream::ReadLittleEndian64FromArray(data, &table);
    truncated_.push_back(table);
  }
  return {};
}

Status RowDecoder::check_rows() const {
  const size_t columns = table_->columns.size();
  const bool needs_after = header_.op == Op::insert || header_.op == Op::update;
  const bool needs_before = header_.op == Op::remove;
  const bool may_before = header_.op == Op::update;
  if (needs_after ? after_.size() != columns : after_.seen()) {
    return corrupt(
        fmt::format("{} {} a new row", to_string(header_.op), needs_after ? "without" : "with"));
  }
  if (needs_before ? before_.size() != columns : before_.seen() && !may_before) {
    return corrupt(
        fmt::format("{} {} an old row", to_string(header_.op), needs_before ? "without" : "with"));
  }
  TRY(after_.finish());
  return before_.finish();
}

Status RowDecoder::check_truncate() const {
  if (header_.op != Op::truncate) {
    if (truncated_.empty() && truncate_first_ == 0 && !restart_identity_) return {};
    return corrupt(fmt::format("{} with the fields of a truncate", to_string(header_.op)));
  }
  if (std::find(truncated_.begin(), truncated_.end(), header_.fingerprint) == truncated_.end()) {
    return corrupt("truncate does not name its own table");
  }
  if (truncate_first_ > header_.position.ordinal) {
    return corrupt(fmt::format("truncate at ordinal {} begins at {}", header_.position.ordinal,
                               truncate_first_));
  }
  return {};
}

Status RowDecoder::finish() {
  TRY(check_rows());
  TRY(check_truncate());
  Change change;
  change.op = header_.op;
  change.position = header_.position;
  change.after = after_.own(out_.arena());
  change.before = before_.own(out_.arena());
  if (!truncated_.empty()) {
    const size_t bytes = truncated_.size() * sizeof(uint64_t);
    auto* tables = static_cast<uint64_t*>(out_.arena().allocate(bytes, alignof(uint64_t)));
    std::uninitialized_copy(truncated_.begin(), truncated_.end(), tables);
    change.truncated = {tables, truncated_.size()};
  }
  change.truncate_first = truncate_first_;
  change.restart_identity = restart_identity_;
  out_.add_owned(change, table_);
  return {};
}

}  // namespace

Result<RowHeader> peek_row(std::string_view record) {
  TRY_ASSIGN(const int size, checked_size(record));
  CodedInputStream in(reinterpret_cast<const uint8_t*>(record.data()), size);
  RawHeader raw;
  raw.header.bytes = record.size();
  while (true) {
    const int at = in.CurrentPosition();
    const uint32_t tag = in.ReadTag();
    if (tag == 0) break;
    const int field = WireFormatLite::GetTagFieldNumber(tag);
    if (field > row_field::kLastOfHeader) {
      raw.header.bytes = static_cast<size_t>(at);
      return finish_header(raw);
    }
    if (!read_header_field(in, tag, raw)) {
      return corrupt(fmt::format("field {} is cut short or malformed", field));
    }
  }
  if (!in.ConsumedEntireMessage()) return corrupt("ends inside a field or has field number 0");
  return finish_header(raw);
}

Status decode_row(std::string_view record, const SchemaLookup& lookup, ChangeBatch& out) {
  TRY_ASSIGN(const int size, checked_size(record));
  return RowDecoder(record, size, lookup, out).run();
}

Status decode_row(std::string_view record, const RowHeader& header, const SchemaLookup& lookup,
                  ChangeBatch& out) {
  const std::string_view body = record.substr(std::min(header.bytes, record.size()));
  TRY_ASSIGN(const int size, checked_size(body));
  return RowDecoder(body, size, lookup, out).run_behind(header);
}

}  // namespace millrace::wire
