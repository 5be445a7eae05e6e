#include "relay/chunk/pacing.h"

#include <doctest/doctest.h>

namespace millrace::chunk {

TEST_CASE("Pacing: rows follow from what reading and writing one takes") {
  Pacing pacing(Millis(500), 100U << 20);
  for (int i = 0; i < 20; ++i) {
    const uint64_t rows = pacing.next_rows();
    pacing.read(rows, rows * 10, static_cast<double>(rows) * 10e-6);
    pacing.wrote(rows, static_cast<double>(rows) * 15e-6);
  }
  CHECK(pacing.next_rows() == doctest::Approx(20'000).epsilon(0.02));
}

TEST_CASE("Pacing: grows twofold at most, and shrinks at once") {
  Pacing pacing(Millis(500), 100U << 20);
  const uint64_t first = pacing.next_rows();
  pacing.read(first, first, 1e-6);
  CHECK(pacing.next_rows() == 2 * first);
  pacing.read(first, first, 10.0);
  CHECK(pacing.next_rows() < first / 8);
  CHECK(pacing.next_rows() >= 1);
}

TEST_CASE("Pacing: what a chunk costs by itself does not lead to ever smaller ones") {
  Pacing pacing(Millis(50), 100U << 20);
  for (int i = 0; i < 50; ++i) {
    const uint64_t rows = pacing.next_rows();
    CHECK(rows >= 100);
    pacing.read(rows, rows * 10, 0.1 + static_cast<double>(rows) * 1e-6);
  }
}

TEST_CASE("Pacing: wide rows fit the byte limit, and one row is always asked for") {
  Pacing pacing(Millis(500), 4U << 20);
  pacing.read(2, 60U << 20, 0.001);
  CHECK(pacing.next_rows() == 1);
}

}  // namespace millrace::chunk
