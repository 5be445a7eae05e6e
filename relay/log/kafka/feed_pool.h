// The feeds of data partitions, kept between ranges.
//
// Invariant: what is read ahead in partitions without an open cursor, or whose cursor rests, stays
// within read_ahead_most(); each partition has a bound of its own. Those that nobody has used for a
// while are stopped, so that an idle reader asks the broker for manifests alone. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "relay/log/kafka/feed.h"

namespace millrace::log::kafka {

// A cursor that rests, which the pool may ask for its memory.
class Resting {
 public:
  virtual ~Resting() = default;
  virtual size_t held_bytes() const = 0;
  virtual void let_go() = 0;
};

class FeedPool {
 public:
  explicit FeedPool(Client& client) : client_(client), nudger_(client) {}

  // Stays valid for whoever holds it; the pool may stop it, and its user starts it again.
  std::shared_ptr<Feed> feed(const std::string& topic, int32_t partition);
  // Until wake() or done(), `cursor` may be asked to let go of the feed, now too.
  void rest(const std::string& topic, int32_t partition, Resting& cursor);
  void wake(const std::string& topic, int32_t partition);
  // A cursor is done with it. One that is seldom used and has nothing more to give is stopped at
  // once.
  void done(const std::string& topic, int32_t partition);
  void stop_idle();
  Client& client() { return client_; }

 private:
  struct Entry {
    std::shared_ptr<Feed> feed;
    SteadyTime used;
    SteadyTime used_before;
    Resting* resting = nullptr;
  };
  using Feeds = std::map<std::pair<std::string, int32_t>, Entry>;

  void look_sometimes();
  void make_room();
  void stop(Feeds::iterator at);

  Client& client_;
  Nudger nudger_;
  uint32_t calls_ = 0;
  size_t room_ = 0;  // in bytes, when last looked at
  Feeds feeds_;
};

}  // namespace millrace::log::kafka
