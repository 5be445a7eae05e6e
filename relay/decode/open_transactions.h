// OpenTransactions: where the messages of transactions wait that the source streams before they
// commit.
//
// Invariant (the implementation's): replay gives what was added and not dropped, in the order in
// which it was added. Called by the decoder's thread alone.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "relay/base/result.h"
#include "relay/decode/pgoutput.h"

namespace millrace::decode {

class OpenTransactions {
 public:
  virtual ~OpenTransactions() = default;

  // `message.xid` is the savepoint's own transaction id, or `xid` outside of one. `sequence` rises
  // from message to message, over all transactions.
  virtual Status add(uint32_t xid, uint64_t sequence, const StreamedMessage& message) = 0;

  // Drops what `subxid` did; the whole transaction where it equals `xid`. Nothing to drop is no
  // error: the server also says so of what it never sent.
  virtual Status abort(uint32_t xid, uint32_t subxid) = 0;

  // Gives every message as proto_version 1 would have sent it. Ends with the visitor's first error.
  using Visitor = std::function<Status(uint64_t sequence, std::string_view message)>;
  virtual Status replay(uint32_t xid, const Visitor& visit) = 0;
};

}  // namespace millrace::decode
