// Spill: the messages of transactions that are still open at the source, on disk until they end.
//
// Nothing here must outlive the connection it was read from, so nothing is synced and the folder is
// emptied whenever it is opened: the slot keeps the WAL from the start of the oldest open
// transaction (restart_lsn), and whatever was not confirmed at its commit is streamed again from
// its first change (ReorderBufferCanStartStreaming in the server's reorderbuffer.c). Hence the
// format is no promise either.
//
//   m xid:4 sequence:8   the message
//   s xid:4 subxid:4     the sequence of the first message of a savepoint
//
// Big-endian: the keys of a transaction are in the order in which its messages came. Savepoints are
// nested, so all that a transaction did after a savepoint's first change and before its rollback is
// rolled back with it: an abort drops the tail from there (the server's own worker does the same:
// stream_abort_internal in worker.c).
//
// Invariant: replay gives what was added and not dropped, in order. Memory: a fixed share for
// RocksDB (about 16 MB) and some bytes an open transaction, whatever their sizes. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "relay/base/result.h"

namespace millrace::checkpoint {

class Spill {
 public:
  // Removes what is there. REQUIRES: no other process uses the folder; its owner is who holds the
  // pipeline's Store. Errors: config when the folder can not be made, retryable.
  static Result<std::unique_ptr<Spill>> open(const std::string& path);
  // Removes the folder, if it is there.
  static void discard(const std::string& path);
  ~Spill();
  Spill(const Spill&) = delete;
  Spill& operator=(const Spill&) = delete;

  // `sequence` rises from call to call. `letter` and `body` are kept as one message. Errors of this
  // and the following: retryable (a full disk too), corruption.
  Status add(uint32_t xid, uint32_t subxid, uint64_t sequence, char letter, std::string_view body);
  // Drops what `subxid` did, or the whole transaction where it equals `xid`.
  Status abort(uint32_t xid, uint32_t subxid);
  // Ends with the visitor's first error. The view is valid during the call.
  using Visitor = std::function<Status(uint64_t sequence, std::string_view message)>;
  Status replay(uint32_t xid, const Visitor& visit);

  // How many transactions have something here, and how many bytes of messages were added since the
  // folder was last empty.
  size_t transactions() const;
  uint64_t bytes_added() const;

 private:
  struct State;  // hides RocksDB
  explicit Spill(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace millrace::checkpoint
