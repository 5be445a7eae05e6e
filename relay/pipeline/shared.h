// Shared: what capture and apply have in common in one process.
//
// Data goes one way; what comes back is `applied`, which lets the slot forget where acknowledging
// waits for the target. The monitor may tell capture to halt. Thread-safe.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <utility>

#include "relay/base/error.h"
#include "relay/base/ids.h"

namespace millrace::pipeline {

class Shared {
 public:
  // The target's applied watermark; nullopt until it was read or when nothing was ever applied.
  void set_applied(const Watermark& watermark) {
    const std::lock_guard lock(mutex_);
    applied_ = watermark;
  }
  std::optional<Watermark> applied() const {
    const std::lock_guard lock(mutex_);
    return applied_;
  }

  // True once capture has held the slot: from then on this process is the pipeline's one instance.
  void set_capturing() { capturing_ = true; }
  bool capturing() const { return capturing_; }

  // Apply lets the stream wait in the log: nobody is in a hurry to have it there.
  void set_stream_waits(bool waits) { stream_waits_ = waits; }
  bool stream_waits() const { return stream_waits_; }

  // Why capture is to read no more; nullopt: it may.
  void set_halt(std::optional<Error> why) {
    const std::lock_guard lock(mutex_);
    halt_ = std::move(why);
  }
  std::optional<Error> halt() const {
    const std::lock_guard lock(mutex_);
    return halt_;
  }

 private:
  std::atomic<bool> capturing_{false};
  std::atomic<bool> stream_waits_{false};
  mutable std::mutex mutex_;
  std::optional<Watermark> applied_;
  std::optional<Error> halt_;
};

}  // namespace millrace::pipeline
