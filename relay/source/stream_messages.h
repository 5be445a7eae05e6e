// The CopyData messages of a replication stream: frames from the server, status updates to it.
// Pure.
//
// Source: PostgreSQL docs, "Streaming Replication Protocol". All numbers big-endian, times in
// microseconds since 2000-01-01 UTC.
//
//   XLogData    w  start64 end64 time64 bytes
//   Keepalive   k  end64 time64 reply8
//   Status      r  written64 flushed64 applied64 time64 reply8
#pragma once

#include <array>
#include <string_view>

#include "relay/base/ids.h"
#include "relay/base/result.h"

namespace millrace::source {

struct Frame {
  enum class Kind { data, keepalive };
  Kind kind = Kind::data;
  // data only, and no position: 0/0 for a description, the first change's for Begin, the end for
  // Commit.
  Lsn wal_start;
  // keepalive: everything of ours before it was sent. data: the same number as wal_start.
  Lsn server_wal_end;
  TimeMicros sent_at;
  std::string_view payload;
  bool reply_requested = false;
};

struct StatusUpdate {
  Lsn written;
  Lsn flushed;  // only this one lets the slot forget
  TimeMicros now;
  bool reply_requested = false;
};

// Errors: corruption.
Result<Frame> parse_frame(std::string_view bytes);

std::array<char, 34> encode_status(const StatusUpdate& status);

}  // namespace millrace::source
