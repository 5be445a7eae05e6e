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
#include <vector>

#include "relay/base/ids.h"
#include "relay/base/result.h"
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
  };

  explicit Decoder(Options options) : options_(std::move(options)) {}

  // One message, as an XLogData frame carries it.
  // Errors: corruption (bytes that can not be; says what was expected), bad_data (a row that does
  // not carry its key), fatal (a message of a newer protocol than was asked for), the handler's own
  // and primary_key's.
  Status decode(std::string_view message, Handler& handler);

  bool in_transaction() const { return in_transaction_; }

 private:
  struct Table {
    TableSchemaPtr schema;
    std::vector<uint32_t> key;  // indexes of the key's columns
  };

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

  std::unordered_map<uint32_t, Table> tables_;
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
