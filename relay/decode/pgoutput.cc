#include "relay/decode/pgoutput.h"

#include <fmt/format.h>

#include "relay/decode/byte_reader.h"

namespace millrace::decode {
namespace {

constexpr size_t kColumnsMax = 1664;  // MaxTupleAttributeNumber
// Postgres counts time from 2000-01-01 UTC.
constexpr uint64_t kPostgresEpochMicros = 946'684'800'000'000ULL;

TimeMicros read_time(ByteReader& in) {
  // Unsigned, so that hostile bytes wrap instead of overflowing.
  return {static_cast<int64_t>(in.u64() + kPostgresEpochMicros)};
}

tl::unexpected<Error> corrupt(char letter, const std::string& what) {
  return fail(ErrorCode::corruption, fmt::format("pgoutput {}: {}", message_name(letter), what));
}

std::string show(uint8_t letter) {
  if (letter >= 0x20 && letter < 0x7F) return fmt::format("'{}'", static_cast<char>(letter));
  return fmt::format("byte 0x{:02X}", letter);
}

// Reads the letter that the caller has already looked at.
ByteReader open(std::string_view message) {
  ByteReader in(message);
  in.u8();
  return in;
}

tl::unexpected<Error> too_short(char letter, const ByteReader& in) {
  return corrupt(letter, fmt::format("expected {} more byte(s) at byte {}, the message ends",
                                     in.failed_wanted(), in.failed_at()));
}

Status finish(char letter, const ByteReader& in) {
  if (!in.ok()) return too_short(letter, in);
  if (in.left() != 0) {
    return corrupt(letter, fmt::format("expected the end at byte {}, found {} more byte(s)",
                                       in.offset(), in.left()));
  }
  return {};
}

Status expect(char letter, const ByteReader& in, uint8_t found, std::string_view wanted) {
  if (!in.ok()) return too_short(letter, in);
  return corrupt(letter, fmt::format("expected {} at byte {}, found {}", wanted, in.offset() - 1,
                                     show(found)));
}

// An empty schema stands for pg_catalog.
std::string_view or_catalog(std::string_view schema) {
  return schema.empty() ? std::string_view("pg_catalog") : schema;
}

Status read_tuple(char letter, ByteReader& in, std::vector<Value>& out) {
  const size_t count = in.u16();
  if (count > kColumnsMax) {
    return corrupt(letter,
                   fmt::format("a tuple of {} columns, expected at most {}", count, kColumnsMax));
  }
  out.resize(count);
  for (Value& value : out) {
    const uint8_t kind = in.u8();
    if (kind == 't') {
      const uint32_t length = in.u32();
      value.kind = ValueKind::text;
      value.text = in.bytes(length);
    } else if (kind == 'n' || kind == 'u') {
      value.kind = static_cast<ValueKind>(kind);
      value.text = {};
    } else if (kind == 'b' && in.ok()) {
      return fail(ErrorCode::fatal,
                  fmt::format("pgoutput {}: a binary value at byte {}, though text was asked for",
                              message_name(letter), in.offset() - 1));
    } else {
      return expect(letter, in, kind, "a value kind 'n', 'u' or 't'");
    }
  }
  if (!in.ok()) return too_short(letter, in);
  return {};
}

bool old_kind_of(uint8_t letter, OldTuple& out) {
  if (letter != 'K' && letter != 'O') return false;
  out = letter == 'K' ? OldTuple::key : OldTuple::full;
  return true;
}

}  // namespace

std::string_view message_name(char letter) {
  switch (letter) {
    case 'B':
      return "Begin";
    case 'C':
      return "Commit";
    case 'O':
      return "Origin";
    case 'Y':
      return "Type";
    case 'R':
      return "Relation";
    case 'I':
      return "Insert";
    case 'U':
      return "Update";
    case 'D':
      return "Delete";
    case 'T':
      return "Truncate";
    case 'M':
      return "Message";
    case 'S':
      return "Stream Start";
    case 'E':
      return "Stream Stop";
    case 'c':
      return "Stream Commit";
    case 'A':
      return "Stream Abort";
    case 'b':
      return "Begin Prepare";
    case 'P':
      return "Prepare";
    case 'K':
      return "Commit Prepared";
    case 'r':
      return "Rollback Prepared";
    case 'p':
      return "Stream Prepare";
    default:
      return "unknown";
  }
}

Status parse_begin(std::string_view message, Begin& out) {
  ByteReader in = open(message);
  out.commit_lsn.value = in.u64();
  out.commit_time = read_time(in);
  out.xid = in.u32();
  return finish('B', in);
}

namespace {

// What Commit and Stream Commit have in common.
Status read_commit(char letter, ByteReader& in, Commit& out) {
  const uint8_t flags = in.u8();
  if (flags != 0) return expect(letter, in, flags, "flags 0");
  out.commit_lsn.value = in.u64();
  out.end_lsn.value = in.u64();
  out.commit_time = read_time(in);
  return finish(letter, in);
}

}  // namespace

Status parse_commit(std::string_view message, Commit& out) {
  ByteReader in = open(message);
  return read_commit('C', in, out);
}

Status parse_origin(std::string_view message, Origin& out) {
  ByteReader in = open(message);
  out.lsn.value = in.u64();
  out.name = in.c_string();
  return finish('O', in);
}

Status parse_type(std::string_view message, TypeName& out) {
  ByteReader in = open(message);
  out.oid = in.u32();
  out.schema = or_catalog(in.c_string());
  out.name = in.c_string();
  return finish('Y', in);
}

Status parse_relation(std::string_view message, Relation& out) {
  ByteReader in = open(message);
  out.oid = in.u32();
  out.schema = or_catalog(in.c_string());
  out.name = in.c_string();
  const uint8_t identity = in.u8();
  switch (identity) {
    case 'd':
      out.identity = ReplicaIdentity::default_key;
      break;
    case 'n':
      out.identity = ReplicaIdentity::nothing;
      break;
    case 'f':
      out.identity = ReplicaIdentity::full;
      break;
    case 'i':
      out.identity = ReplicaIdentity::index;
      break;
    default:
      return expect('R', in, identity, "a replica identity 'd', 'n', 'f' or 'i'");
  }
  const size_t count = in.u16();
  if (count > kColumnsMax) {
    return corrupt('R', fmt::format("{} columns, expected at most {}", count, kColumnsMax));
  }
  out.columns.clear();
  for (size_t i = 0; i < count && in.ok(); ++i) {
    RelationColumn column;
    const uint8_t flags = in.u8();
    if (flags > 1) return expect('R', in, flags, "column flags 0 or 1");
    column.in_key = flags == 1;
    column.name = in.c_string();
    column.type_oid = in.u32();
    column.type_modifier = static_cast<int32_t>(in.u32());
    out.columns.push_back(column);
  }
  return finish('R', in);
}

Status parse_insert(std::string_view message, RowMessage& out) {
  ByteReader in = open(message);
  out.oid = in.u32();
  out.old_kind = OldTuple::none;
  out.old_row.clear();
  const uint8_t letter = in.u8();
  if (letter != 'N') return expect('I', in, letter, "'N' before the new row");
  TRY(read_tuple('I', in, out.new_row));
  return finish('I', in);
}

Status parse_update(std::string_view message, RowMessage& out) {
  ByteReader in = open(message);
  out.oid = in.u32();
  out.old_kind = OldTuple::none;
  out.old_row.clear();
  uint8_t letter = in.u8();
  if (old_kind_of(letter, out.old_kind)) {
    TRY(read_tuple('U', in, out.old_row));
    letter = in.u8();
    if (letter != 'N') return expect('U', in, letter, "'N' before the new row");
  } else if (letter != 'N') {
    return expect('U', in, letter, "'K', 'O' or 'N' before a row");
  }
  TRY(read_tuple('U', in, out.new_row));
  return finish('U', in);
}

Status parse_delete(std::string_view message, RowMessage& out) {
  ByteReader in = open(message);
  out.oid = in.u32();
  out.new_row.clear();
  const uint8_t letter = in.u8();
  if (!old_kind_of(letter, out.old_kind)) {
    return expect('D', in, letter, "'K' or 'O' before the old row");
  }
  TRY(read_tuple('D', in, out.old_row));
  return finish('D', in);
}

Status parse_truncate(std::string_view message, Truncate& out) {
  ByteReader in = open(message);
  const uint32_t count = in.u32();
  const uint8_t options = in.u8();
  if (in.ok() && options > 3) return expect('T', in, options, "options 0 to 3");
  out.cascade = (options & 1) != 0;
  out.restart_identity = (options & 2) != 0;
  if (in.ok() && in.left() / 4 < count) {
    return corrupt('T', fmt::format("expected {} tables at byte {}, found {} byte(s)", count,
                                    in.offset(), in.left()));
  }
  out.oids.clear();
  for (uint32_t i = 0; i < count && in.ok(); ++i) out.oids.push_back(in.u32());
  return finish('T', in);
}

Status parse_message(std::string_view message, LogicalMessage& out) {
  ByteReader in = open(message);
  const uint8_t flags = in.u8();
  if (flags > 1) return expect('M', in, flags, "flags 0 or 1");
  out.transactional = flags == 1;
  out.lsn.value = in.u64();
  out.prefix = in.c_string();
  const uint32_t length = in.u32();
  out.content = in.bytes(length);
  return finish('M', in);
}

namespace {

Status require_xid(char letter, const ByteReader& in, uint32_t xid) {
  if (!in.ok()) return too_short(letter, in);
  if (xid == 0) return corrupt(letter, "expected a transaction id, found 0");
  return {};
}

}  // namespace

Status parse_stream_start(std::string_view message, StreamStart& out) {
  ByteReader in = open(message);
  out.xid = in.u32();
  TRY(require_xid('S', in, out.xid));
  const uint8_t first = in.u8();
  if (first > 1) return expect('S', in, first, "0 or 1 for the first block");
  out.first = first == 1;
  return finish('S', in);
}

Status parse_stream_stop(std::string_view message) {
  const ByteReader in = open(message);
  return finish('E', in);
}

Status parse_stream_commit(std::string_view message, StreamCommit& out) {
  ByteReader in = open(message);
  out.xid = in.u32();
  TRY(require_xid('c', in, out.xid));
  return read_commit('c', in, out.commit);
}

Status parse_stream_abort(std::string_view message, StreamAbort& out) {
  ByteReader in = open(message);
  out.xid = in.u32();
  TRY(require_xid('A', in, out.xid));
  out.subxid = in.u32();
  TRY(require_xid('A', in, out.subxid));
  return finish('A', in);
}

Status parse_streamed(std::string_view message, StreamedMessage& out) {
  ByteReader in = open(message);
  out.letter = message.front();
  out.xid = 0;
  if (out.letter != 'O') {
    out.xid = in.u32();
    TRY(require_xid(out.letter, in, out.xid));
  }
  out.body = message.substr(in.offset());
  return {};
}

}  // namespace millrace::decode
