// The messages of Postgres' pgoutput plugin, proto_version 1 and 2, parsed into views.
//
// Invariant: a parser accepts exactly the bytes of one message: a short one, trailing bytes, an
// unknown letter or a string without its NUL is an Error (corruption) that says what was expected
// and where. Stateless and thread-safe; views point into the message. Source: PostgreSQL docs,
// "Logical Replication Message Formats"; the server's own writer is
// src/backend/replication/logical/proto.c.
//
//   Begin     B  lsn64 time64 xid32
//   Commit    C  flags8=0 lsn64 end_lsn64 time64
//   Origin    O  lsn64 name\0
//   Type      Y  oid32 schema\0 name\0
//   Relation  R  oid32 schema\0 name\0 identity8(d n f i) count16
//                { key8 name\0 type32 modifier32 }*
//   Insert    I  oid32 N tuple
//   Update    U  oid32 [ (K|O) tuple ] N tuple
//   Delete    D  oid32 (K|O) tuple
//   Truncate  T  count32 options8(1 cascade, 2 restart identity) oid32*
//   Message   M  flags8(1 transactional) lsn64 prefix\0 length32 bytes
//   tuple        count16 { n | u | t length32 bytes }*
//
// proto_version 2 with streaming: blocks of transactions that are still open, S … E. Inside one
// every message but Origin has the (sub)transaction's xid32 right after its letter.
//   Stream Start   S  xid32 first8(1 for a transaction's first block)
//   Stream Stop    E
//   Stream Commit  c  xid32 flags8=0 lsn64 end_lsn64 time64
//   Stream Abort   A  xid32 subxid32 (the same number: the whole transaction)
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "relay/base/ids.h"
#include "relay/base/result.h"
#include "relay/event/change.h"
#include "relay/event/table_schema.h"

namespace millrace::decode {

struct Begin {
  Lsn commit_lsn;  // start of the commit record that is still to come
  TimeMicros commit_time;
  uint32_t xid = 0;
};

struct Commit {
  Lsn commit_lsn;
  Lsn end_lsn;  // end of the commit record: what a slot is acknowledged with
  TimeMicros commit_time;
};

struct Origin {
  Lsn lsn;
  std::string_view name;
};

// A type that is not built in. A domain's message carries the domain's OID and its base type's
// name.
struct TypeName {
  uint32_t oid = 0;
  std::string_view schema;
  std::string_view name;
};

struct RelationColumn {
  bool in_key = false;
  std::string_view name;
  uint32_t type_oid = 0;
  int32_t type_modifier = -1;
};

struct Relation {
  uint32_t oid = 0;
  std::string_view schema;
  std::string_view name;
  ReplicaIdentity identity = ReplicaIdentity::default_key;
  std::vector<RelationColumn> columns;
};

enum class OldTuple : uint8_t { none, key, full };

// Insert, Update or Delete. Reused from row to row, so that nothing is allocated in steady state.
struct RowMessage {
  uint32_t oid = 0;
  OldTuple old_kind = OldTuple::none;
  std::vector<Value> old_row;  // with OldTuple::key the other columns come as null and mean nothing
  std::vector<Value> new_row;
};

struct Truncate {
  bool cascade = false;
  bool restart_identity = false;
  std::vector<uint32_t> oids;
};

struct LogicalMessage {
  bool transactional = false;
  Lsn lsn;
  std::string_view prefix;
  std::string_view content;
};

struct StreamStart {
  uint32_t xid = 0;
  bool first = false;
};

struct StreamCommit {
  uint32_t xid = 0;
  Commit commit;
};

struct StreamAbort {
  uint32_t xid = 0;
  uint32_t subxid = 0;
};

// A message of a stream block without its xid: letter and body together are what proto_version 1
// would have sent.
struct StreamedMessage {
  uint32_t xid = 0;  // of the (sub)transaction that made it; 0 for Origin, which has none
  char letter = 0;
  std::string_view body;
};

// Each takes a whole message, its letter included.
Status parse_begin(std::string_view message, Begin& out);
Status parse_commit(std::string_view message, Commit& out);
Status parse_origin(std::string_view message, Origin& out);
Status parse_type(std::string_view message, TypeName& out);
Status parse_relation(std::string_view message, Relation& out);
Status parse_insert(std::string_view message, RowMessage& out);
Status parse_update(std::string_view message, RowMessage& out);
Status parse_delete(std::string_view message, RowMessage& out);
Status parse_truncate(std::string_view message, Truncate& out);
Status parse_message(std::string_view message, LogicalMessage& out);
Status parse_stream_start(std::string_view message, StreamStart& out);
Status parse_stream_stop(std::string_view message);
Status parse_stream_commit(std::string_view message, StreamCommit& out);
Status parse_stream_abort(std::string_view message, StreamAbort& out);
// Takes the xid out; the body is looked at by whoever parses the message in the end.
Status parse_streamed(std::string_view message, StreamedMessage& out);

// "Begin" for 'B', …; "unknown" for a letter that pgoutput does not have.
std::string_view message_name(char letter);

}  // namespace millrace::decode
