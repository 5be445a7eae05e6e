// JobSource: what a copy asks of the source; behind an interface, so that tests own it.
//
// One thread: each reader has one of its own. A lost connection fails one call with a retryable
// error; the next one connects again, and a mark stays good across it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "relay/base/result.h"
#include "relay/event/visibility_mark.h"
#include "relay/sink/history.h"
#include "relay/source/chunk_reader.h"

namespace millrace::chunk {

using Mark = VisibilityMark;

class JobSource {
 public:
  virtual ~JobSource() = default;

  // See relay/source/visibility.h.
  virtual Result<Mark> mark() = 0;
  virtual Result<bool> seen(const Mark& mark) = 0;
  virtual Result<std::string> waiting_for(const Mark& mark) = 0;

  // See relay/source/chunk_reader.h.
  virtual Result<source::TableToRead> table(const std::string& name) = 0;
  virtual Result<std::optional<uint64_t>> estimate(const source::TableToRead& table,
                                                   const source::RowRange& range) = 0;
  virtual Result<std::optional<sink::KeyText>> largest_key(const source::TableToRead& table,
                                                           const source::RowRange& range) = 0;
  virtual Result<source::Piece> read(const source::TableToRead& table,
                                     const source::RowRange& range,
                                     const source::PieceLimits& limits) = 0;
  virtual Result<source::Piece> read_keys(const source::TableToRead& table,
                                          const std::vector<sink::KeyText>& keys,
                                          std::vector<sink::KeyText>& absent) = 0;

  virtual Status check(const source::TableToRead& table, const source::RowRange& range) = 0;

  // For the throttle. The lag of the slowest physical replica in seconds; nullopt: there is none.
  virtual Result<std::optional<double>> replica_lag_s() = 0;
  // The answer of a user's query: why to hold back; empty: nothing stands against it.
  virtual Result<std::string> ask(const std::string& sql) = 0;
};

}  // namespace millrace::chunk
