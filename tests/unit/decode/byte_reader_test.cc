#include "relay/decode/byte_reader.h"

#include <string>

#include <doctest/doctest.h>

using millrace::decode::ByteReader;
using namespace std::string_view_literals;

TEST_CASE("ByteReader: numbers are big-endian") {
  ByteReader in("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E\xFF"sv);
  CHECK(in.u16() == 0x0102);
  CHECK(in.u32() == 0x03040506U);
  CHECK(in.u64() == 0x0708090A0B0C0D0EULL);
  CHECK(in.u8() == 0xFF);
  CHECK(in.ok());
  CHECK(in.left() == 0);
  CHECK(in.offset() == 15);
}

TEST_CASE("ByteReader: the first read that does not fit fails it for good") {
  ByteReader in("\x01\x02\x03"sv);
  CHECK(in.u8() == 1);
  CHECK(in.u32() == 0);
  CHECK_FALSE(in.ok());
  CHECK(in.failed_at() == 1);
  CHECK(in.failed_wanted() == 4);
  CHECK(in.u8() == 0);
  CHECK(in.bytes(1).empty());
  CHECK(in.c_string().empty());
  CHECK(in.failed_at() == 1);
  CHECK(in.left() == 0);
}

TEST_CASE("ByteReader: c_string ends at its NUL and needs one") {
  ByteReader in("ab\0\0cd"sv);
  CHECK(in.c_string() == "ab");
  CHECK(in.c_string().empty());
  CHECK(in.ok());
  CHECK(in.c_string().empty());
  CHECK_FALSE(in.ok());
}

TEST_CASE("ByteReader: bytes of a length near the address space's end do not wrap") {
  ByteReader in("abc"sv);
  CHECK(in.bytes(SIZE_MAX).empty());
  CHECK_FALSE(in.ok());
}

TEST_CASE("ByteReader: an empty view") {
  ByteReader in(std::string_view{});
  CHECK(in.ok());
  CHECK(in.bytes(0).empty());
  CHECK(in.ok());
  CHECK(in.c_string().empty());
  CHECK_FALSE(in.ok());
}
