#include "relay/admin/guard.h"

#include <doctest/doctest.h>

using namespace millrace::admin;

TEST_CASE("constant_time_equal") {
  CHECK(constant_time_equal("", ""));
  CHECK(constant_time_equal("abc", "abc"));
  CHECK_FALSE(constant_time_equal("abc", "abd"));
  CHECK_FALSE(constant_time_equal("abc", "ab"));
  CHECK_FALSE(constant_time_equal("ab", "abc"));
  CHECK_FALSE(constant_time_equal("abab", "ab"));
  CHECK_FALSE(constant_time_equal("", "a"));
  CHECK_FALSE(constant_time_equal("a", ""));
  CHECK_FALSE(constant_time_equal("\x80", std::string_view("\0", 1)));
}

TEST_CASE("bearer_matches") {
  CHECK(bearer_matches("Bearer secret", "secret"));
  CHECK(bearer_matches("bearer secret", "secret"));
  CHECK_FALSE(bearer_matches("secret", "secret"));
  CHECK_FALSE(bearer_matches("Bearer Secret", "secret"));
  CHECK_FALSE(bearer_matches("Bearer ", ""));
  CHECK_FALSE(bearer_matches("", ""));
}

TEST_CASE("host_header_allowed: only names of this machine") {
  CHECK(host_header_allowed("127.0.0.1:7070", "127.0.0.1", 7070));
  CHECK(host_header_allowed("LocalHost:7070", "127.0.0.1", 7070));
  CHECK(host_header_allowed("[::1]:7070", "::1", 7070));
  CHECK(host_header_allowed("127.0.0.2:7070", "127.0.0.2", 7070));
  CHECK(host_header_allowed("localhost", "127.0.0.1", 80));
  CHECK_FALSE(host_header_allowed("localhost", "127.0.0.1", 7070));
  CHECK_FALSE(host_header_allowed("evil.example:7070", "127.0.0.1", 7070));
  CHECK_FALSE(host_header_allowed("127.0.0.1:7071", "127.0.0.1", 7070));
  CHECK_FALSE(host_header_allowed("", "127.0.0.1", 7070));
}
