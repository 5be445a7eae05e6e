#include "relay/source/stream_messages.h"

#include <string>

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::source;
using namespace std::string_view_literals;

TEST_CASE("parse_frame: golden bytes of XLogData") {
  const auto frame =
      parse_frame("w\0\0\0\0\x01\x6B\x37\x48\0\0\0\0\x01\x6B\x37\x50\0\0\0\0\0\0\0\x2AIpayload"sv);
  REQUIRE(frame);
  CHECK(frame->kind == Frame::Kind::data);
  CHECK(frame->wal_start == Lsn{0x16B3748});
  CHECK(frame->server_wal_end == Lsn{0x16B3750});
  CHECK(to_string(frame->sent_at) == "2000-01-01T00:00:00.000042Z");
  CHECK(frame->payload == "Ipayload");
  CHECK_FALSE(frame->reply_requested);
}

TEST_CASE("parse_frame: golden bytes of a keepalive") {
  const auto frame = parse_frame("k\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\0\x01"sv);
  REQUIRE(frame);
  CHECK(frame->kind == Frame::Kind::keepalive);
  CHECK(to_string(frame->server_wal_end) == "1/2");
  CHECK(frame->reply_requested);
  CHECK(frame->payload.empty());
}

TEST_CASE("parse_frame: cut at any length, or of another kind, is corruption") {
  const std::string keepalive("k\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\0\x01", 18);
  for (size_t length = 0; length < keepalive.size(); ++length) {
    const std::string cut(keepalive.data(), length);
    const auto frame = parse_frame(cut);
    REQUIRE_FALSE(frame);
    CHECK(frame.error().code() == ErrorCode::corruption);
  }
  CHECK_FALSE(parse_frame(keepalive + "x"));
  const std::string header("w" + std::string(24, '\0'));
  CHECK(parse_frame(header));
  for (size_t length = 0; length < header.size(); ++length) {
    CHECK_FALSE(parse_frame(std::string(header.data(), length)));
  }
  CHECK_FALSE(parse_frame("z123456789012345678901234567890"sv));
}

TEST_CASE("encode_status: golden bytes; flushed is also what is called applied") {
  StatusUpdate status;
  status.written = Lsn{0x0102030405060708};
  status.flushed = Lsn{0x11};
  status.now = TimeMicros{946'684'800'000'001};
  status.reply_requested = true;
  const auto bytes = encode_status(status);
  const std::string_view wanted =
      "r\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\0\x11\0\0\0\0\0\0\0\x11"
      "\0\0\0\0\0\0\0\x01\x01"sv;
  CHECK(std::string_view(bytes.data(), bytes.size()) == wanted);
}
