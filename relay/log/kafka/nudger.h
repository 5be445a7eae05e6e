// Wakes librdkafka's broker thread: it may sleep for a second after a full partition queue was
// drained.
//
// Any request to the partition's leader does it. The reply is of no interest, and may have to wait
// behind an open fetch on the same connection: so a thread of its own asks. Threads: nudge() from
// any.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "relay/log/kafka/client.h"

namespace millrace::log::kafka {

class Nudger {
 public:
  explicit Nudger(Client& client) : client_(client) {}
  ~Nudger();
  Nudger(const Nudger&) = delete;
  Nudger& operator=(const Nudger&) = delete;

  // Returns at once. While one request is open the latest wish waits, earlier ones are forgotten:
  // whoever still needs one asks again.
  void nudge(const std::string& topic, int32_t partition);

 private:
  void run();

  Client& client_;
  std::mutex mutex_;
  std::condition_variable wish_changed_;
  std::optional<std::pair<std::string, int32_t>> wish_;
  bool stop_ = false;
  std::thread thread_;  // begun with the first wish
};

}  // namespace millrace::log::kafka
