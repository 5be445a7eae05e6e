// Reads the embedded log: block by block, one block in memory for each open cursor; those that rest
// let go of theirs when all of them are more than a quarter of the memory.
//
// Invariant: what lies before a topic's start is refused, never skipped in silence.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "relay/log/embedded/store.h"

namespace millrace::log {

class EmbeddedReader : public Reader {
 public:
  explicit EmbeddedReader(Store& store) : store_(store) {}

  Result<Bounds> control_bounds() override;
  Status seek_control(LogOffset offset) override;
  Result<std::optional<ControlEntry>> next_control(Millis wait) override;
  Result<ControlEntry> control_at(LogOffset offset) override;
  Result<std::unique_ptr<RangeCursor>> open(const OffsetRange& range) override;
  void interrupt() override;

 private:
  Store& store_;
  std::atomic<bool> interrupted_{
      false};  // for good: a reader that was interrupted is on its way out
  LogOffset next_ = 0;
  size_t held_bytes_ = 0;  // of all cursors' blocks
};

}  // namespace millrace::log
