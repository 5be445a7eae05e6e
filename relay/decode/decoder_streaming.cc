// The part of Decoder that knows transactions which are streamed while they are open.
#include <fmt/format.h>

#include "relay/decode/decoder.h"

namespace millrace::decode {
namespace {

tl::unexpected<Error> corrupt(char letter, const std::string& what) {
  return fail(ErrorCode::corruption, fmt::format("pgoutput {}: {}", message_name(letter), what));
}

bool may_stand_in_block(char letter) {
  return std::string_view("IUDTRYMO").find(letter) != std::string_view::npos;
}

}  // namespace

Status Decoder::between_blocks(std::string_view message, Handler& handler) {
  const char letter = message.front();
  if (options_.open_transactions == nullptr) {
    return fail(ErrorCode::fatal,
                fmt::format("pgoutput {}: a message of an open transaction, though streaming was "
                            "not asked for",
                            message_name(letter)),
                "report this with the server's version");
  }
  if (in_transaction_) {
    return corrupt(letter, fmt::format("expected the Commit of {} first", to_string(commit_lsn_)));
  }
  switch (letter) {
    case 'S':
      return on_stream_start(message);
    case 'c':
      return on_stream_commit(message, handler);
    case 'A':
      return on_stream_abort(message);
    default:
      return corrupt(letter, "expected a Stream Start first");
  }
}

Status Decoder::on_stream_start(std::string_view message) {
  StreamStart start;
  TRY(parse_stream_start(message, start));
  // A new connection begins with a first block too: the server has read everything anew.
  if (start.first != open_xids_.insert(start.xid).second) {
    return corrupt('S', fmt::format("transaction {}: {}", start.xid,
                                    start.first ? "expected that its first block had not come yet"
                                                : "expected its first block first"));
  }
  block_xid_ = start.xid;
  return {};
}

Status Decoder::in_block(std::string_view message) {
  const char letter = message.front();
  if (letter == 'E') {
    TRY(parse_stream_stop(message));
    block_xid_ = 0;
    return {};
  }
  if (!may_stand_in_block(letter)) {
    return corrupt(letter, fmt::format("expected the Stream Stop of transaction {} first (found "
                                       "byte 0x{:02X})",
                                       block_xid_, static_cast<uint8_t>(letter)));
  }
  StreamedMessage streamed;
  TRY(parse_streamed(message, streamed));
  if (streamed.xid == 0) streamed.xid = block_xid_;
  return options_.open_transactions->add(block_xid_, sequence_, streamed);
}

// A savepoint that is rolled back, or all of the transaction. The server also tells of those that
// it never sent: there is nothing of them to drop.
Status Decoder::on_stream_abort(std::string_view message) {
  StreamAbort abort;
  TRY(parse_stream_abort(message, abort));
  if (abort.xid == abort.subxid) open_xids_.erase(abort.xid);
  return options_.open_transactions->abort(abort.xid, abort.subxid);
}

Status Decoder::on_stream_commit(std::string_view message, Handler& handler) {
  StreamCommit end;
  TRY(parse_stream_commit(message, end));
  if (open_xids_.erase(end.xid) == 0) {
    return corrupt('c', fmt::format("transaction {}: expected its first block first", end.xid));
  }
  const Begin begin{end.commit.commit_lsn, end.commit.commit_time, end.xid};
  TRY(begin_transaction(begin, 'c', handler));
  replaying_ = true;
  last_table_ = nullptr;
  TRY(options_.open_transactions->replay(end.xid,
                                         [&](uint64_t sequence, std::string_view one) -> Status {
                                           sequence_ = sequence;
                                           return decode_one(one, handler);
                                         }));
  share_described();
  TRY(end_transaction(end.commit, 'c', handler));
  return options_.open_transactions->abort(end.xid, end.xid);  // nothing of it is needed any more
}

// What the transaction described holds for all from its commit on; unless the table was described
// again meanwhile, in another transaction.
void Decoder::share_described() {
  for (auto& [oid, table] : described_) {
    Table& known = tables_[oid];
    if (known.described_at < table.described_at) known = std::move(table);
  }
  described_.clear();
  replaying_ = false;
  last_table_ = nullptr;
}

}  // namespace millrace::decode
