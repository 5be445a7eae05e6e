// History: position ↔ time ↔ manifest, one entry per manifest, thinned with age.
//
//   younger than an hour   all of them; where there are more than `entries_max`: than a minute
//   younger than a day     the first of every second
//   younger than 30 days   the first of every minute
//   older                  none
//
// Thinning is incremental: every call looks at a bounded number of entries from where it stopped
// before. Where that is, is not stored: after a restart it begins at the oldest entry, and finds
// what it left.
//
// Invariant: an entry lives twice, by position (with the value) and by time; both come and go in
// one write. Adding and thinning: one thread at a time. Queries: any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "relay/base/result.h"
#include "relay/checkpoint/database.h"
#include "relay/checkpoint/entry.h"

namespace millrace::checkpoint {

class History {
 public:
  History(Database& db, size_t entries_max);

  // Puts the writes that add `entry` into `batch`. The same manifest again replaces its entry.
  Status add(const Entry& entry, std::vector<Write>& batch) const;
  // Looks at no more than `steps` entries in each of the three bands; returns how many it removed.
  Result<size_t> thin(TimeMicros now, size_t steps);

  // In ascending order, from <= x < to; the last `limit` of them.
  Result<std::vector<Entry>> between(const Place& from, const Place& to, size_t limit) const;
  Result<std::vector<Entry>> between(TimeMicros from, TimeMicros to, size_t limit) const;
  // The last entry with x <= the place or time.
  Result<std::optional<Entry>> last_at(const Place& place) const;
  Result<std::optional<Entry>> last_at(TimeMicros at) const;

 private:
  // Entries older than `age` are thinned to one per `bucket`; 0 removes them.
  struct Band {
    int64_t age_us = 0;
    int64_t bucket_us = 0;
    std::string cursor;           // the key looked at last; empty: none yet
    std::optional<int64_t> kept;  // the bucket that has its entry
  };

  Result<size_t> thin(Band& band, TimeMicros now, int64_t age_us, size_t steps);
  // The entry that a key by time points at; nullopt when it is gone.
  Result<std::optional<Entry>> follow(std::string_view time_key) const;

  Database& db_;
  size_t entries_max_;
  Band seconds_;
  Band minutes_;
  Band expired_;
};

}  // namespace millrace::checkpoint
