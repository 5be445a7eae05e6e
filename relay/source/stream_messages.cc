#include "relay/source/stream_messages.h"

#include <fmt/format.h>

namespace millrace::source {
namespace {

constexpr uint64_t kPostgresEpochMicros = 946'684'800'000'000ULL;
constexpr size_t kDataHeader = 1 + 3 * 8;
constexpr size_t kKeepaliveSize = 1 + 2 * 8 + 1;

uint64_t read64(std::string_view bytes, size_t at) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = (value << 8) | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

TimeMicros read_time(std::string_view bytes, size_t at) {
  return {static_cast<int64_t>(read64(bytes, at) + kPostgresEpochMicros)};
}

}  // namespace

Result<Frame> parse_frame(std::string_view bytes) {
  Frame frame;
  if (bytes.size() >= kDataHeader && bytes.front() == 'w') {
    frame.wal_start = Lsn{read64(bytes, 1)};
    frame.server_wal_end = Lsn{read64(bytes, 9)};
    frame.sent_at = read_time(bytes, 17);
    frame.payload = bytes.substr(kDataHeader);
    return frame;
  }
  if (bytes.size() == kKeepaliveSize && bytes.front() == 'k') {
    frame.kind = Frame::Kind::keepalive;
    frame.server_wal_end = Lsn{read64(bytes, 1)};
    frame.sent_at = read_time(bytes, 9);
    frame.reply_requested = bytes[17] != 0;
    return frame;
  }
  return fail(ErrorCode::corruption,
              bytes.empty()
                  ? std::string("replication stream: expected a frame, found no bytes")
                  : fmt::format("replication stream: expected XLogData or a keepalive, found byte "
                                "0x{:02X} and {} byte(s) in all",
                                static_cast<uint8_t>(bytes.front()), bytes.size()));
}

std::array<char, 34> encode_status(const StatusUpdate& status) {
  std::array<char, 34> out{};
  size_t at = 0;
  const auto put64 = [&](uint64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8) out[at++] = static_cast<char>(value >> shift);
  };
  out[at++] = 'r';
  put64(status.written.value);
  put64(status.flushed.value);
  put64(status.flushed.value);
  put64(static_cast<uint64_t>(status.now.value) - kPostgresEpochMicros);
  out[at] = status.reply_requested ? 1 : 0;
  return out;
}

}  // namespace millrace::source
