#include <doctest/doctest.h>

#include "connectors/postgres/connection.h"

using namespace millrace::postgres;

TEST_CASE("classify: what a SQLSTATE asks the caller to do") {
  for (const char* state : {"", "08006", "40001", "40P01", "53100", "53300", "55P03", "57014",
                            "57P01", "25006", "58030"}) {
    CAPTURE(state);
    CHECK(classify(state) == Failure::retryable);
  }
  for (const char* state : {"23505", "23503", "23P01", "21000"}) {
    CAPTURE(state);
    CHECK(classify(state) == Failure::conflict);
  }
  for (const char* state :
       {"22P02", "22001", "22003", "22021", "23502", "23514", "54000", "P0001"}) {
    CAPTURE(state);
    CHECK(classify(state) == Failure::row);
  }
  for (const char* state : {"42703", "42P01", "42804", "42P10", "0A000", "3F000"}) {
    CAPTURE(state);
    CHECK(classify(state) == Failure::schema);
  }
  for (const char* state : {"42501", "XX000", "25P02"}) {
    CAPTURE(state);
    CHECK(classify(state) == Failure::other);
  }
}
