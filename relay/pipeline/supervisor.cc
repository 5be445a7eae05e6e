#include "relay/pipeline/supervisor.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "relay/base/thread_name.h"

namespace millrace::pipeline {
namespace {

constexpr Millis kLookEvery{200};

// How the stages ended, in order; whoever waits is woken by each.
class Endings {
 public:
  void add(Status status) {
    const std::lock_guard lock(mutex_);
    ++ended_;
    if (first_ && !status) first_ = std::move(status);
    wake_.notify_all();
  }
  // True once `count` stages have ended, false after `wait`.
  bool wait_for(size_t count, Millis wait) {
    std::unique_lock lock(mutex_);
    return wake_.wait_for(lock, wait, [&] { return ended_ >= count; });
  }
  Status first_error() {
    const std::lock_guard lock(mutex_);
    return first_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  size_t ended_ = 0;
  Status first_;
};

}  // namespace

Status supervise(log::Log& log, sink::Target* target, const Clock& clock, SupervisorOptions options,
                 Shared& shared, StatusBoard& board, std::stop_token stop) {
  Endings endings;
  std::stop_source stages;
  const std::stop_callback forward(stop, [&stages] { stages.request_stop(); });
  std::unique_ptr<Capture> capture;
  std::unique_ptr<Apply> apply;
  std::unique_ptr<Monitor> monitor;
  std::vector<std::jthread> threads;
  if (options.monitor) monitor = std::make_unique<Monitor>(*options.monitor, shared, board);
  if (options.apply) {
    apply = std::make_unique<Apply>(log, *target, clock, *options.apply, shared, board);
    threads.emplace_back([&] {
      name_this_thread("apply");
      endings.add(apply->run(stages.get_token()));
    });
  }
  if (options.capture) {
    capture = std::make_unique<Capture>(log, clock, *options.capture, shared, board);
    threads.emplace_back([&] {
      name_this_thread("capture");
      endings.add(capture->run(stages.get_token()));
    });
  }
  Status verdict;
  // Any stage that ends ends the whole: by an error, or because its goal is reached.
  while (!endings.wait_for(1, kLookEvery)) {
    if (stop.stop_requested()) break;
    if (!monitor) continue;
    if (auto why = monitor->verdict()) {
      verdict = fail(std::move(*why));
      break;
    }
    if (monitor->wants_slot_dropped()) break;
  }
  stages.request_stop();
  const auto deadline = clock.now() + options.stop_grace;
  while (!endings.wait_for(threads.size(), kLookEvery)) {
    if (apply && clock.now() >= deadline) apply->interrupt();
  }
  threads.clear();
  if (!verdict) return verdict;
  if (monitor && monitor->wants_slot_dropped()) return fail(monitor->drop_slot());
  return endings.first_error();
}

}  // namespace millrace::pipeline
