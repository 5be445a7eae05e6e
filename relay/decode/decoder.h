// Decoder: a pgoutput stream as transactions of Changes with positions.
//
// Invariant: every change stands between a Begin and the Commit of the same commit LSN; its
// position is (timeline, that LSN, ordinal), ordinals counting from 0 without a gap in stream
// order, so that the same transaction decoded again gets the same positions. One thread; one
// decoder a replication connection (the server repeats what it described when a connection is new).
// After an error the decoder stands in the middle of something: make a new one.
//
//             Begin                     Commit
//   idle ───────────────► transaction ───────────► idle
//   idle: Relation, Type, Message that is not transactional
//   transaction: all of these, Origin, Insert, Update, Delete, Truncate, transactional Message
//
// With Options::open_transactions (proto_version 2, streaming) blocks of open transactions come
// between the others. They are put away as they are, and decoded when they commit, so that a
// handler sees no difference:
//
//             Stream Start                         Stream Stop
//   idle ──────────────────► block: put away ──────────────────► idle
//        Stream Abort: dropped, whole or a savepoint's part
//        Stream Commit: Begin, what was put away, Commit
//
// A table that is described inside a block is known to that transaction alone until it commits.
// Then, as the server's own book says (cleanup_rel_sync_cache in pgoutput.c), to all; but not where
// a later description has come in meanwhile.
//
// What a row carries (`key`: Column::in_key, which for REPLICA IDENTITY FULL is the primary key):
//   keyed table     update: `before` only when the key changed: its key columns, null elsewhere
//                   delete: `before` is the key columns, null elsewhere
//   FULL, no key    update, delete: `before` is the whole old row
// A value that the update left in TOAST stays `unchanged`, unless the old row carries it. An insert
// may have such a value too: a row filter turns an update into an insert.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "relay/base/ids.h"
#include "relay/base/result.h"
#include "relay/decode/open_transactions.h"
#include "relay/decode/pgoutput.h"
#include "relay/event/change.h"
#include "relay/event/table_schema.h"

namespace millrace::decode {

// Receives what a stream says, in its order. Everything passed is valid during the call only, but
// for the TableSchemaPtr. An error ends decode() with that error.
class Handler {
 public:
  virtual ~Handler() = default;
  virtual Status on_begin(const Begin& begin) = 0;
  virtual Status on_change(const Change& change, const TableSchemaPtr& table) = 0;
  virtual Status on_commit(const Commit& commit) = 0;
  virtual Status on_message(const LogicalMessage& message) = 0;
};

class Decoder {
 public:
  struct Options {
    uint32_t timeline = 0;
    // The primary key's columns; empty when the table has none. Asked when a table with REPLICA
    // IDENTITY FULL is described, where pgoutput flags every column. May be empty: then such tables
    // have no key.
    std::function<Result<std::vector<std::string>>(const std::string& schema,
                                                   const std::string& table)>
        primary_key;
    // Where open transactions wait; borrowed. Null: the server was not asked to stream them.
    OpenTransactions* open_transactions = nullptr;
  };

  explicit Decoder(Options options) : options_(std::move(options)) {}

  // One message, as an XLogData frame carries it.
  // Errors: corruption (bytes that can not be; says what was expected), bad_data (a row that does
  // not carry its key), fatal (a message of a newer protocol than was asked for), the handler's own
  // and primary_key's.
  Status decode(std::string_view message, Handler& handler);

  // A handler was told of a begin, and not of its end. False inside a block: what is put away there
  // commits later, and so lies behind everything that was received up to now.
  bool in_transaction() const { return in_transaction_; }

 private:
  struct Table {
    TableSchemaPtr schema;
    std::vector<uint32_t> key;  // indexes of the key's columns
    uint64_t described_at = 0;  // the sequence of its Relation message
  };
  using Tables = std::unordered_map<uint32_t, Table>;

  Status decode_one(std::string_view message, Handler& handler);
  Status begin_transaction(const Begin& begin, char letter, Handler& handler);
  Status end_transaction(const Commit& commit, char letter, Handler& handler);

  Status in_block(std::string_view message);
  Status between_blocks(std::string_view message, Handler& handler);
  Status on_stream_start(std::string_view message);
  Status on_stream_commit(std::string_view message, Handler& handler);
  Status on_stream_abort(std::string_view message);
  void share_described();

  Status on_begin(std::string_view message, Handler& handler);
  Status on_commit(std::string_view message, Handler& handler);
  Status on_relation(std::string_view message);
  Status on_type(std::string_view message);
  Status on_insert(std::string_view message, Handler& handler);
  Status on_update(std::string_view message, Handler& handler);
  Status on_delete(std::string_view message, Handler& handler);
  Status on_truncate(std::string_view message, Handler& handler);
  Status on_message(std::string_view message, Handler& handler);

  Status require_transaction(char letter) const;
  Result<Column> make_column(const RelationColumn& from, const Relation& relation) const;
  Status apply_primary_key(TableSchema& schema) const;
  Result<const Table*> find_table(uint32_t oid, char letter);
  Status require_width(const Table& table, const std::vector<Value>& row, char letter) const;
  Status require_key(const Table& table, const std::vector<Value>& row, char letter) const;
  Status settle_old_row(const Table& table, Change& change);
  void fill_unchanged(const Table& table);
  Row key_only(const Table& table);
  Status emit(Change& change, const Table& table, Handler& handler);

  Options options_;
  bool in_transaction_ = false;
  Lsn commit_lsn_;
  uint32_t next_ordinal_ = 0;

  uint64_t received_ = 0;  // messages
  uint64_t sequence_ = 0;  // of the message that is decoded: when it was received

  std::unordered_set<uint32_t> open_xids_;  // of transactions with a block, as many as are open
  uint32_t block_xid_ = 0;                  // of the block we stand in; 0: none
  bool replaying_ = false;                  // an open transaction has committed, and is decoded

  Tables tables_;
  Tables described_;  // by the transaction that is replayed
  std::unordered_map<uint32_t, std::pair<std::string, std::string>> types_;
  // Rows come in runs of one table: the last one is looked at first. Cleared by a Relation message.
  uint32_t last_oid_ = 0;
  const Table* last_table_ = nullptr;

  // Scratch, reused from message to message.
  RowMessage row_;
  Relation relation_;
  Truncate truncate_;
  std::vector<Value> before_;
  std::vector<uint64_t> truncated_;
};

}  // namespace millrace::decode
