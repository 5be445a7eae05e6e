// PlanWriter: carries one BatchPlan out as bulk statements, in an order that foreign keys accept.
//
//   truncate -> moves (parents first) -> removes (children first) -> upserts, updates, whole rows
//   (parents first; rows that are new at the source by COPY). Cycles of foreign keys go in any
//   order; deferrable ones are deferred anyway.
//
// When the target rejects a row, the plan is written once more `carefully`: every statement in a
// savepoint, halved where it fails, until one row is left to name.
//
// One thread. What it knows of the target's tables is read at first use and kept until forget().
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "connectors/postgres/array_literal.h"
#include "connectors/postgres/binding.h"
#include "connectors/postgres/connection.h"
#include "connectors/postgres/copy_writer.h"
#include "connectors/postgres/history_statements.h"
#include "connectors/postgres/known_tables.h"
#include "connectors/postgres/statements.h"
#include "relay/sink/target.h"

namespace millrace::postgres {

// What open jobs ask of the stream's writes (relay/sink/history.h).
struct Watch {
  std::string pipeline;
  // Source tables by display_name; the floor of a job that replaces rows, 0/0 where none does.
  std::map<std::string, Lsn> tables;
  sink::RowSource* rows = nullptr;  // null: a row that is not there can not be completed
};

class PlanWriter {
 public:
  // All of them outlive the writer. After a change of `watch`: watch_changed().
  PlanWriter(Connection& connection, KnownTables& known,
             const std::vector<sink::TableMapping>& tables, const Watch& watch)
      : connection_(connection),
        known_(known),
        tables_(tables),
        watch_(watch),
        copier_(connection) {}

  // REQUIRES: no transaction is open yet.
  void begin(uint32_t epoch);
  // REQUIRES: a transaction is open. Error rejected: a row, or one of many, that the target does
  // not take.
  Status write(const sink::BatchPlan& plan, bool in_order, bool careful);
  // The last write failed on a row of a bulk statement: write again with `careful` to name it.
  bool wants_care() const { return wants_care_; }
  // Something was read before this transaction, and may have been altered since.
  bool stale() const;
  // Everything that was read, with what is known of tables and what was prepared for them.
  void forget();
  // The statements are others now; the tables are as they were.
  void watch_changed();
  // What is known of the target's tables is read anew by the next transaction.
  void forget_later() { forget_next_ = true; }
  // Of a target table, as quote_table() names it: its parents, theirs, and so on.
  Result<std::vector<std::string>> above(const std::string& table);

 private:
  friend class ChunkWriter;  // rows of history: the same tables, statements and errors

  // When rows that are new at the source go by COPY: docs/decisions/0012.
  struct Copying {
    std::string sql;       // empty: never; its columns are the binding's outputs, and the version
    unsigned skip = 0;     // so many bulk writes go without
    unsigned penalty = 0;  // grows with each COPY in vain
  };
  struct Table {
    Binding binding;
    Copying copying;
    size_t rank = 0;  // parents have smaller ranks
    RowStatements upsert, remove, append;
    Statement remove_whole, replace_whole, passes;
    std::unordered_map<std::string, RowStatements> partial, move;  // by present columns
    std::optional<Watched> watched;                                // it has an open job
    std::optional<ChunkPlan> chunks;                               // made at first use
  };
  using Rows = std::vector<const sink::PlannedRow*>;
  using RowSpan = std::span<const sink::PlannedRow* const>;
  struct Groups {
    Table* table = nullptr;
    const sink::TablePlan* plan = nullptr;
    Rows fresh, upserts, removes;
    std::unordered_map<std::string, Rows> partials, moves;
  };
  struct Completed {
    sink::PlannedRow planned;
    std::vector<Value> values;
    std::deque<std::string> texts;
  };
  struct Failed {
    Failure failure = Failure::other;
    Error error;
    bool parent_missing = false;  // one row, a foreign key
  };
  using Attempt = std::optional<Failed>;  // nullopt: done

  // Reads, together, what the plan's tables lack; table_of() does it for one.
  Status read_tables(const sink::BatchPlan& plan);
  Result<Table*> table_of(const TableSchema& schema);
  Status load_ranks();
  size_t rank_of(const std::string& table);
  Result<Groups> group(const sink::TablePlan& plan);
  Status truncate(const sink::BatchPlan& plan);

  const Watched* watched(const Table& table) const {
    return table.watched ? &*table.watched : nullptr;
  }
  Watched scope_of(const TableSchema& schema) const;
  // Takes from `rows` those that are not in the target yet, and makes upserts of them with what
  // the source has now; plan_writer_complete.cc.
  Status complete(Groups& groups, const RowStatements& statements, Rows& rows);
  Status write_moves(Groups& groups);
  Status write_rest(Groups& groups);
  Status write_whole_rows(Table& table, const sink::TablePlan& plan);
  Status write_whole_row(Table& table, const sink::PlannedRow& row);

  // Writes rows that are new at the source by COPY. False: nothing was written, they are to go by
  // the statement that knows what to do with rows that are there.
  Result<bool> copy_rows(Table& table, RowSpan rows);
  bool put_rows(const Table& table, RowSpan rows);
  Status run_rows(Table& table, const RowStatements& statements, RowSpan rows);
  Attempt run_chunk(Table& table, const RowStatements& statements, RowSpan rows);
  Attempt run_halves(Table& table, const RowStatements& statements, RowSpan rows);
  Attempt run_once(Table& table, const RowStatements& statements, RowSpan rows);
  Attempt find_missing(Table& table, const RowStatements& statements, RowSpan rows);
  // Runs one statement over the rows; nullopt leaves the failure in `failed`.
  std::optional<Reply> run(Table& table, const Statement& statement, RowSpan rows, Attempt& failed);
  std::optional<Reply> run_scalar(Table& table, const Statement& statement,
                                  const sink::PlannedRow& row, Attempt& failed);
  Failed failed_reply(Table& table, const Reply& reply, RowSpan rows);
  Error nul_error(const Table& table, const sink::PlannedRow& row, uint32_t column) const;
  Error name_row(const Table& table, const sink::PlannedRow& row, Error error) const;
  Status finish(Attempt attempt);

  Connection& connection_;
  KnownTables& known_;
  const std::vector<sink::TableMapping>& tables_;
  const Watch& watch_;
  std::deque<Completed> completed_;                             // of this write
  std::unordered_map<uint64_t, std::unique_ptr<Table>> bound_;  // by fingerprint
  bool ranks_loaded_ = false;
  std::unordered_map<std::string, std::vector<std::string>> parents_;
  std::unordered_map<std::string, size_t> ranks_;
  uint64_t transaction_ = 0;
  uint32_t epoch_ = 0;
  bool in_order_ = false;
  bool careful_ = false;
  bool wants_care_ = false;
  bool forget_next_ =
      false;  // stale: forget at the next transaction (bindings are in use until then)
  std::vector<ArrayLiteral> arrays_;
  CopyWriter copier_;
};

}  // namespace millrace::postgres
