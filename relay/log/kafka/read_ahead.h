// How much librdkafka may read ahead of one data partition, so that all of them stay within the
// reader's memory.
//
// Ten bytes from one compressed byte are common, and librdkafka keeps half a kilobyte beside each
// message: fetches are small, and a queue is bounded by count too. But a queue holds more than one
// target transaction takes from a partition: what comes next is fetched while the target writes,
// and a full queue is filled again late.
#pragma once

#include <cstddef>

namespace millrace::log::kafka {

struct ReadAhead {
  // Of one partition in one fetch, as it is compressed; comes on top of a queue that was not full.
  // A broker sends a larger batch all the same, but of one partition a fetch.
  size_t fetch_bytes = 0;
  // A queue that holds so much is full, by either.
  size_t queue_bytes = 0;
  size_t messages = 0;
  // First guess at what a batch is decompressed to; grown where it is not enough. Without one,
  // librdkafka allocates 255 times what was compressed.
  size_t batch_bytes = 0;
};

// `memory_bytes`: KafkaOptions::memory_bytes, of which half is shared by `partitions`, since a
// group may be merged from all of them; 0: their number is not known.
ReadAhead read_ahead(size_t memory_bytes, size_t partitions);

// What all queues may hold that nobody reads from just now, with what is kept beside each message:
// of small rows that is three times their bytes, and with less a stream that goes round some
// hundred tables reads most of them twice. What librdkafka keeps for each partition comes off.
size_t read_ahead_most(size_t memory_bytes, size_t partitions);

// What librdkafka keeps beside a message in a queue.
inline constexpr size_t kBesideMessageBytes = 400;
// What a message costs in a queue when it is a small row.
inline constexpr size_t kQueuedMessageBytes = kBesideMessageBytes + 240;

}  // namespace millrace::log::kafka
