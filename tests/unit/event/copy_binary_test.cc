// Tuples as COPY … TO writes them in binary; that a server agrees is the integration tests'
// business.
#include "relay/event/copy_binary.h"

#include <string>

#include <doctest/doctest.h>

using namespace millrace;
using namespace std::string_literals;

namespace {

// (7, NULL, 'ab')
const std::string kTuple = "\0\3\0\0\0\4\0\0\0\7\377\377\377\377\0\0\0\2ab"s;

}  // namespace

TEST_CASE("take_copy_tuple: one after the other, and nothing that is cut off") {
  const std::string two = kTuple + "\0\0"s + kTuple;
  std::string_view rest = two;
  CHECK(take_copy_tuple(rest) == kTuple);
  CHECK(take_copy_tuple(rest) == "\0\0"s);
  CHECK(take_copy_tuple(rest) == kTuple);
  CHECK(rest.empty());
  CHECK_FALSE(take_copy_tuple(rest));
  for (size_t size = 0; size < kTuple.size(); ++size) {
    std::string_view cut = std::string_view(kTuple).substr(0, size);
    CHECK_FALSE(take_copy_tuple(cut));
    CHECK(cut.size() == size);
  }
  std::string_view end = kCopyBinaryEnd;
  CHECK_FALSE(take_copy_tuple(end));
}

TEST_CASE("copy_field: values, NULL, and fields that are not there") {
  CHECK(copy_field(kTuple, 0) == "\0\0\0\7"s);
  CHECK_FALSE(copy_field(kTuple, 1));
  CHECK(copy_field(kTuple, 2) == "ab");
  CHECK_FALSE(copy_field(kTuple, 3));
}

TEST_CASE("append_copy_tuple: one field more") {
  std::string out = "x";
  append_copy_tuple(out, kTuple, "12345");
  CHECK(out.front() == 'x');
  const std::string tuple = out.substr(1);
  std::string_view rest = tuple;
  CHECK(take_copy_tuple(rest) == tuple);
  CHECK(copy_field(tuple, 2) == "ab");
  CHECK(copy_field(tuple, 3) == "12345");
  CHECK_FALSE(copy_field(tuple, 4));
}

TEST_CASE("text_of_binary: as the server writes it") {
  CHECK(text_of_binary(21, "\377\377"s) == "-1");
  CHECK(text_of_binary(21, "\200\0"s) == "-32768");
  CHECK(text_of_binary(23, "\0\1\0\0"s) == "65536");
  CHECK(text_of_binary(23, "\200\0\0\0"s) == "-2147483648");
  CHECK(text_of_binary(20, "\177\377\377\377\377\377\377\377"s) == "9223372036854775807");
  CHECK(text_of_binary(20, "\200\0\0\0\0\0\0\0"s) == "-9223372036854775808");
  CHECK(text_of_binary(25, "a\tb\\") == "a\tb\\");
  CHECK(text_of_binary(2950, "\240\356\274\231\234\13\116\370\273\155\153\271\275\70\12\21"s) ==
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
  CHECK(has_text_of_binary(23));
  CHECK_FALSE(has_text_of_binary(1700));
  CHECK(copies_in_binary(1700));
  CHECK_FALSE(copies_in_binary(790));
  CHECK_FALSE(copies_in_binary(1007));
}
