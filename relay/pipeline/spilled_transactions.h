// SpilledTransactions: the decoder's open transactions, kept in a checkpoint::Spill.
//
// Invariant: a replay of any length calls `between` every few hundred messages and ends with its
// error. One thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "relay/checkpoint/spill.h"
#include "relay/decode/open_transactions.h"

namespace millrace::pipeline {

class SpilledTransactions final : public decode::OpenTransactions {
 public:
  // Empties the folder. Errors: those of Spill::open.
  static Result<std::unique_ptr<SpilledTransactions>> open(const std::string& folder,
                                                           std::function<Status()> between);

  Status add(uint32_t xid, uint64_t sequence, const decode::StreamedMessage& message) override;
  Status abort(uint32_t xid, uint32_t subxid) override;
  Status replay(uint32_t xid, const Visitor& visit) override;

 private:
  SpilledTransactions(std::unique_ptr<checkpoint::Spill> spill, std::function<Status()> between);

  std::unique_ptr<checkpoint::Spill> spill_;
  std::function<Status()> between_;
};

}  // namespace millrace::pipeline
