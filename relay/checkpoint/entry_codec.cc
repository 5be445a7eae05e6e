#include "relay/checkpoint/entry_codec.h"

#include <limits>

#include <fmt/format.h>

#include "relay/checkpoint/big_endian.h"

namespace millrace::checkpoint {
namespace {

constexpr char kPositionFamily = 'p';
constexpr char kTimeFamily = 't';
constexpr char kNameKind = 0;
constexpr char kTablesKind = 't';
constexpr size_t kRangesMax = 100'000;

tl::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::corruption, "checkpoint: " + std::move(what));
}

Status check_format(uint8_t format) {
  if (format == kFormat) return {};
  if (format == 0) return corrupt("no format number");
  return fail(
      ErrorCode::refused,
      fmt::format("a checkpoint has format {}; this version reads format {}", format, kFormat),
      "a newer millrace wrote it: upgrade this one");
}

void put(Writer& out, const PositionKey& key) {
  out.number(key.place.epoch).number(key.place.end_lsn.value).sortable(key.manifest_offset);
}

PositionKey get_position(Reader& in) {
  PositionKey key;
  key.place.epoch = in.number<uint32_t>();
  key.place.end_lsn.value = in.number<uint64_t>();
  key.manifest_offset = in.sortable();
  return key;
}

std::string key_of(char family) { return {static_cast<char>(kFormat), family}; }

bool has_family(Reader& in, char family) {
  return in.number<uint8_t>() == kFormat && in.number<uint8_t>() == static_cast<uint8_t>(family);
}

}  // namespace

std::string encode_entry(const Entry& entry) {
  std::string bytes;
  bytes.reserve(96 + entry.pipeline.size() + entry.system_identifier.size() +
                entry.ranges.size() * 64);
  Writer out(bytes);
  out.number(kFormat).number(static_cast<uint8_t>(entry.kind)).text(entry.pipeline);
  out.number(entry.watermark.timeline).number(entry.watermark.end_lsn.value);
  out.number(entry.watermark.commit_lsn.value).sortable(entry.watermark.commit_time.value);
  out.sortable(entry.token.value).sortable(entry.manifest_offset).number(entry.epoch);
  out.text(entry.system_identifier).sortable(entry.at.value);
  out.number(static_cast<uint32_t>(entry.ranges.size()));
  for (const OffsetRange& range : entry.ranges) {
    out.text(range.topic).number(static_cast<uint32_t>(range.partition));
    out.sortable(range.start).sortable(range.end).number(range.rows);
  }
  return bytes;
}

Result<Entry> decode_entry(std::string_view value) {
  Reader in(value);
  TRY(check_format(in.number<uint8_t>()));
  Entry entry;
  const auto kind = in.number<uint8_t>();
  if (kind < 1 || kind > static_cast<uint8_t>(Kind::applied)) {
    return corrupt(fmt::format("entry of kind {}", kind));
  }
  entry.kind = static_cast<Kind>(kind);
  entry.pipeline = in.text();
  entry.watermark.timeline = in.number<uint32_t>();
  entry.watermark.end_lsn.value = in.number<uint64_t>();
  entry.watermark.commit_lsn.value = in.number<uint64_t>();
  entry.watermark.commit_time.value = in.sortable();
  entry.token.value = in.sortable();
  entry.manifest_offset = in.sortable();
  entry.epoch = in.number<uint32_t>();
  entry.system_identifier = in.text();
  entry.at.value = in.sortable();
  const auto ranges = in.number<uint32_t>();
  // A range has at least 32 bytes: a count that can not be is known before memory is taken for it.
  if (!in.ok() || ranges > kRangesMax || ranges > in.left() / 32) return corrupt("entry cut short");
  entry.ranges.reserve(ranges);
  for (uint32_t i = 0; i < ranges; ++i) {
    OffsetRange range;
    range.topic = in.text();
    const auto partition = in.number<uint32_t>();
    if (partition > static_cast<uint32_t>(std::numeric_limits<int32_t>::max())) {
      return corrupt(fmt::format("partition {}", partition));
    }
    range.partition = static_cast<int32_t>(partition);
    range.start = in.sortable();
    range.end = in.sortable();
    range.rows = in.number<uint64_t>();
    entry.ranges.push_back(std::move(range));
  }
  if (!in.done()) return corrupt(in.ok() ? "entry with bytes behind its end" : "entry cut short");
  return entry;
}

std::string encode_name(std::string_view pipeline) {
  std::string bytes;
  Writer(bytes).number(kFormat).text(pipeline);
  return bytes;
}

Result<std::string> decode_name(std::string_view value) {
  Reader in(value);
  TRY(check_format(in.number<uint8_t>()));
  std::string name = in.text();
  if (!in.done()) return corrupt("pipeline name cut short");
  return name;
}

std::string encode_texts(const std::vector<std::string>& texts) {
  std::string bytes;
  Writer out(bytes);
  out.number(kFormat).number(static_cast<uint32_t>(texts.size()));
  for (const std::string& text : texts) out.text(text);
  return bytes;
}

Result<std::vector<std::string>> decode_texts(std::string_view value) {
  Reader in(value);
  TRY(check_format(in.number<uint8_t>()));
  const auto count = in.number<uint32_t>();
  if (count > in.left() / sizeof(uint32_t)) return corrupt("more texts than bytes for them");
  std::vector<std::string> texts;
  for (uint32_t i = 0; i < count; ++i) texts.push_back(in.text());
  if (!in.done()) return corrupt("a list of texts cut short");
  return texts;
}

std::string name_key() { return key_of(kNameKind); }
std::string tables_key() { return key_of(kTablesKind); }
std::string latest_key(Kind kind) { return key_of(static_cast<char>(kind)); }

PositionKey position_of(const Entry& entry) {
  return {{entry.epoch, entry.watermark.end_lsn}, entry.manifest_offset};
}

TimeKey time_of(const Entry& entry) { return {entry.at, position_of(entry)}; }

std::string encode_key(const PositionKey& key) {
  std::string bytes = key_of(kPositionFamily);
  Writer out(bytes);
  put(out, key);
  return bytes;
}

std::string encode_key(const TimeKey& key) {
  std::string bytes = key_of(kTimeFamily);
  Writer out(bytes);
  put(out.sortable(key.at.value), key.position);
  return bytes;
}

std::optional<PositionKey> decode_position_key(std::string_view key) {
  Reader in(key);
  if (!has_family(in, kPositionFamily)) return std::nullopt;
  const PositionKey decoded = get_position(in);
  if (!in.done()) return std::nullopt;
  return decoded;
}

std::optional<TimeKey> decode_time_key(std::string_view key) {
  Reader in(key);
  if (!has_family(in, kTimeFamily)) return std::nullopt;
  TimeKey decoded;
  decoded.at.value = in.sortable();
  decoded.position = get_position(in);
  if (!in.done()) return std::nullopt;
  return decoded;
}

std::string first_position_key(const Place& place) {
  std::string bytes = key_of(kPositionFamily);
  Writer(bytes).number(place.epoch).number(place.end_lsn.value);
  return bytes;
}

std::string first_time_key(TimeMicros at) {
  std::string bytes = key_of(kTimeFamily);
  Writer(bytes).sortable(at.value);
  return bytes;
}

std::string position_keys_end() { return key_of(kPositionFamily + 1); }
std::string time_keys_end() { return key_of(kTimeFamily + 1); }

}  // namespace millrace::checkpoint
