#include "relay/log/kafka/read_ahead.h"

#include <initializer_list>

#include <doctest/doctest.h>

using millrace::log::kafka::kQueuedMessageBytes;
using millrace::log::kafka::read_ahead;
using millrace::log::kafka::read_ahead_most;

TEST_CASE("read_ahead: what the queues of all partitions hold stays within half the memory") {
  for (const size_t memory : {size_t{8} << 20, size_t{32} << 20, size_t{1} << 30}) {
    for (const size_t partitions : {1, 3, 30, 300, 900, 3000, 6000}) {
      const auto ahead = read_ahead(memory, partitions);
      CAPTURE(memory);
      CAPTURE(partitions);
      CHECK(ahead.messages > 0);
      CHECK(partitions * (ahead.messages - 1) * kQueuedMessageBytes <= memory / 2);
      CHECK(partitions * (ahead.queue_bytes - 1024) <= memory / 2);
      CHECK(ahead.batch_bytes <= 4 * ahead.fetch_bytes);
    }
  }
}

TEST_CASE(
    "read_ahead_most: more partitions leave less for what rests, and half the memory at least") {
  size_t before = read_ahead_most(32 << 20, 0);
  CHECK(before == 48 << 20);
  for (const size_t partitions : {3, 300, 3000, 4000, 100'000}) {
    const size_t most = read_ahead_most(32 << 20, partitions);
    CHECK(most <= before);
    CHECK(most >= 16 << 20);
    before = most;
  }
  CHECK(before == 16 << 20);
}

TEST_CASE("read_ahead: few partitions keep what one target transaction takes of them") {
  const auto ahead = read_ahead(32 << 20, 3);
  CHECK(ahead.messages == 2048);
  CHECK(ahead.queue_bytes == 256 << 10);
  CHECK(ahead.fetch_bytes == 32 << 10);
}

TEST_CASE("read_ahead: more partitions never read more ahead of each") {
  auto before = read_ahead(32 << 20, 0);
  for (const size_t partitions : {1, 2, 10, 100, 1000, 10'000}) {
    const auto ahead = read_ahead(32 << 20, partitions);
    CAPTURE(partitions);
    CHECK(ahead.fetch_bytes <= before.fetch_bytes);
    CHECK(ahead.queue_bytes <= before.queue_bytes);
    CHECK(ahead.messages <= before.messages);
    before = ahead;
  }
}
