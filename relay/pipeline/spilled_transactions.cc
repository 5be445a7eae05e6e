#include "relay/pipeline/spilled_transactions.h"

#include <utility>

#include "relay/base/mutation.h"

namespace millrace::pipeline {
namespace {

constexpr int kMessagesBetween = 512;

}  // namespace

SpilledTransactions::SpilledTransactions(std::unique_ptr<checkpoint::Spill> spill,
                                         std::function<Status()> between)
    : spill_(std::move(spill)), between_(std::move(between)) {}

Result<std::unique_ptr<SpilledTransactions>> SpilledTransactions::open(
    const std::string& folder, std::function<Status()> between) {
  TRY_ASSIGN(auto spill, checkpoint::Spill::open(folder));
  return std::unique_ptr<SpilledTransactions>(
      new SpilledTransactions(std::move(spill), std::move(between)));
}

Status SpilledTransactions::add(uint32_t xid, uint64_t sequence,
                                const decode::StreamedMessage& message) {
  return spill_->add(xid, message.xid, sequence, message.letter, message.body);
}

Status SpilledTransactions::abort(uint32_t xid, uint32_t subxid) {
  if (xid != subxid && mutated("keep_rolled_back")) return {};
  return spill_->abort(xid, subxid);
}

Status SpilledTransactions::replay(uint32_t xid, const Visitor& visit) {
  int left = kMessagesBetween;
  return spill_->replay(xid, [&](uint64_t sequence, std::string_view message) -> Status {
    if (--left == 0) {
      left = kMessagesBetween;
      TRY(between_());
    }
    return visit(sequence, message);
  });
}

}  // namespace millrace::pipeline
