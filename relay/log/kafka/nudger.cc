#include "relay/log/kafka/nudger.h"

#include "relay/base/thread_name.h"
#include "relay/log/kafka/admin.h"

namespace millrace::log::kafka {
namespace {

constexpr Millis kPatience{500};  // a stop may have to wait this long

}  // namespace

Nudger::~Nudger() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wish_changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Nudger::nudge(const std::string& topic, int32_t partition) {
  {
    std::lock_guard lock(mutex_);
    wish_.emplace(topic, partition);
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  }
  wish_changed_.notify_one();
}

void Nudger::run() {
  name_this_thread("nudger");
  for (;;) {
    std::pair<std::string, int32_t> place;
    {
      std::unique_lock lock(mutex_);
      wish_changed_.wait(lock, [this] { return stop_ || wish_; });
      if (stop_) return;
      place = *std::exchange(wish_, std::nullopt);
    }
    (void)watermarks(client_, place.first, place.second, kPatience);
  }
}

}  // namespace millrace::log::kafka
