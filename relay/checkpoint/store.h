// Store: the fast local copy of how far a pipeline has come, and its history.
//
// The log and the target are the truth: losing the folder costs a slower start and the history,
// never a change. What is read here is as old as the last write that survived; nobody may resume
// from it without asking the log. Formats: docs/formats.md.
// Thread-safe, but refresh() is called by one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/checkpoint/database.h"
#include "relay/checkpoint/entry.h"
#include "relay/checkpoint/history.h"

namespace millrace::checkpoint {

struct Options {
  std::string path = {};      // the folder; an owner creates it
  std::string pipeline = {};  // an observer may leave it empty: any
  Mode mode = Mode::owner;
  size_t history_entries_max = 500'000;
  const Clock* clock = nullptr;  // borrowed; null: the system's
};

class Store {
 public:
  // Errors: refused when another process owns the folder, when it belongs to another pipeline, or
  // when a newer version wrote it; corruption (hint: remove it); config; retryable.
  static Result<std::unique_ptr<Store>> open(const Options& options);

  // Makes `entry` the latest of its kind. A published one that has a manifest also enters the
  // history. With `sync` it survives the machine, else the process. Errors: refused for another
  // pipeline's entry.
  Status put(const Entry& entry, bool sync);
  // History alone: for an applier that has a store of its own.
  Status add_history(const Entry& entry);

  Result<std::optional<Entry>> latest(Kind kind) const;

  // The tables that the publication was last made to hold, as schema.name; empty: not known.
  Status put_tables(const std::vector<std::string>& tables);
  Result<std::vector<std::string>> tables() const;

  // History in ascending order, from <= x < to, at most `limit` entries.
  // The last `limit`, in ascending order.
  Result<std::vector<Entry>> history(const Place& from, const Place& to, size_t limit) const;
  Result<std::vector<Entry>> history(TimeMicros from, TimeMicros to, size_t limit) const;
  // The last entry at or before a place or time.
  Result<std::optional<Entry>> history_at(const Place& place) const;
  Result<std::optional<Entry>> history_at(TimeMicros at) const;

  // Removes old history, looking at no more than `steps` entries a band; put() does this by itself.
  // Returns how many entries went.
  Result<size_t> thin(size_t steps);

  // Observer: sees what the owner has written since.
  Status refresh();

 private:
  Store(std::unique_ptr<Database> db, const Options& options);
  Status check_name();
  Status check_owner(const Entry& entry) const;
  Status write(std::vector<Write> batch, const Entry* history, bool sync);

  std::unique_ptr<Database> db_;
  const std::string pipeline_;
  const Clock& clock_;
  std::mutex writing_;  // guards history_'s cursors and added_
  History history_;
  size_t added_ = 0;
};

}  // namespace millrace::checkpoint
