#include "relay/source/server_error.h"

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::source;

TEST_CASE("code_for_sqlstate: what may pass by itself is retryable") {
  for (const char* code :
       {"08006", "08001", "57P01", "57P02", "57P03", "57014", "53300", "53100", "40001", "40P01",
        "55P03", "55006", "25006", "58000", "58030", "XX000"}) {
    CAPTURE(code);
    CHECK(code_for_sqlstate(code) == ErrorCode::retryable);
  }
}

TEST_CASE("code_for_sqlstate: who one is and where one goes is config") {
  for (const char* code : {"28P01", "28000", "3D000"}) {
    CAPTURE(code);
    CHECK(code_for_sqlstate(code) == ErrorCode::config);
  }
}

TEST_CASE("code_for_sqlstate: what needs a hand, and the rest") {
  for (const char* code : {"42501", "42P01", "42704", "55000"}) {
    CAPTURE(code);
    CHECK(code_for_sqlstate(code) == ErrorCode::bad_data);
  }
  CHECK(code_for_sqlstate("XX001") == ErrorCode::fatal);  // data is damaged
  CHECK(code_for_sqlstate("") == ErrorCode::fatal);
}

TEST_CASE("split_verbose: takes the SQLSTATE and the source line out of a verbose message") {
  const VerboseMessage message = split_verbose(
      "connection to server at \"h\" (::1), port 5: failed: FATAL:  28P01: password wrong\n"
      "LOCATION:  auth_failed, auth.c:335\n");
  CHECK(message.sqlstate == "28P01");
  CHECK(message.text ==
        "connection to server at \"h\" (::1), port 5: failed: FATAL:  password wrong");
}

TEST_CASE("split_verbose: of several hosts the last code counts; without one the text stays") {
  CHECK(split_verbose("a: FATAL:  28P01: x\nb: FATAL:  57P03: y\n").sqlstate == "57P03");
  const VerboseMessage refused = split_verbose("connection refused: is the server there?\n");
  CHECK(refused.sqlstate.empty());
  CHECK(refused.text == "connection refused: is the server there?");
  CHECK(split_verbose("FATAL:  short").sqlstate.empty());
  CHECK(split_verbose("").text.empty());
}
