// The embedded log: a RocksDB folder as the log of a pipeline whose capture and apply share one
// process.
//
// Invariant: a control record is reported durable only after its write-ahead log is synced, and
// with it every record that was written before. Nothing is removed that release_before() has not
// released. Threads: the Log is thread-safe; one internal thread does all writes, syncs and
// removal. Format: docs/formats.md, "Embedded log".
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/log/log.h"

namespace millrace::log {

struct EmbeddedOptions {
  std::string path;            // a folder of its own; made when missing
  std::string manifest_topic;  // one partition, as every topic here
  Millis retention{24 * 3600 * 1000};
  uint64_t retention_bytes = 0;   // 0: by time alone
  Millis retention_check{10000};  // how often both are looked at
  size_t memory_bytes = size_t{32}
                        << 20;  // RocksDB's buffers, the producer's queue and the readers' blocks
  size_t max_record_bytes = size_t{64} << 20;
  bool observer =
      false;  // reads beside a running process: no producer, nothing is created or removed
};

// Errors: refused when another process has the folder open (named); corruption when RocksDB can not
// read it; retryable for the disk.
Result<std::unique_ptr<Log>> open_embedded(const EmbeddedOptions& options);

}  // namespace millrace::log
