// Open transactions in memory, each message with its savepoint, dropped one by one: another way to
// the same promise than checkpoint::Spill's.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "relay/decode/open_transactions.h"

namespace millrace::testing {

class MemoryTransactions final : public decode::OpenTransactions {
 public:
  struct Message {
    uint32_t subxid = 0;
    uint64_t sequence = 0;
    std::string bytes;
  };

  Status add(uint32_t xid, uint64_t sequence, const decode::StreamedMessage& message) override {
    if (refuse) return fail(ErrorCode::retryable, "the disk is full");
    messages[xid].push_back(
        {message.xid, sequence, std::string(1, message.letter).append(message.body)});
    return {};
  }
  Status abort(uint32_t xid, uint32_t subxid) override {
    if (xid == subxid) {
      messages.erase(xid);
    } else if (const auto found = messages.find(xid); found != messages.end()) {
      std::erase_if(found->second, [&](const Message& one) { return one.subxid == subxid; });
    }
    return {};
  }
  Status replay(uint32_t xid, const Visitor& visit) override {
    for (const Message& one : messages[xid]) TRY(visit(one.sequence, one.bytes));
    return {};
  }

  std::map<uint32_t, std::vector<Message>> messages;
  bool refuse = false;
};

}  // namespace millrace::testing
