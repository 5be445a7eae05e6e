// Target: the store that is derived; implemented by connectors/*.
//
// Invariant: rows and the applied position move in one target transaction, or not at all, and the
// position moves by compare-and-set, so that a second applier aborts. The only truth about what was
// applied is what applied() reads back, to whoever is the applier.
//
// A transaction: begin → write* → commit; any error but `conflict` and `rejected` leaves it rolled
// back.
// One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "relay/base/result.h"
#include "relay/event/change.h"
#include "relay/event/manifest.h"
#include "relay/sink/history.h"
#include "relay/sink/letter.h"

namespace millrace::sink {

// How one source table lands. Identifiers are plain (unquoted, as the catalog has them).
struct TableMapping {
  struct Expression {
    std::string target_column;
    std::string sql;  // over the source's columns, by name
  };
  std::string source_schema, source_table;
  std::string target_schema, target_table;
  std::vector<Expression> expressions;  // derived columns
  std::vector<std::string> dropped;     // source columns that do not travel by themselves
  std::string where;                    // SQL over the source's columns; empty: every row
  bool create = false;                  // create the target table when it is missing
};

// The row of the target's `millrace.applied` for this pipeline.
struct Applied {
  Watermark watermark;
  uint32_t epoch = 1;
  std::string system_identifier;
  Token token;                     // of the last manifest applied
  LogOffset manifest_offset = -1;  // of the last manifest applied; -1 for none
  TimeMicros applied_at;           // by the target's clock
  bool operator==(const Applied&) const = default;
};

// Changes of one key collapsed to what the target must do. Values are indexed like table->columns.
struct PlannedRow {
  enum class Kind : uint8_t {
    upsert,   // `row` has no `unchanged` value
    partial,  // an update with at least one `unchanged` value: the target's stays
    move,  // the row that stood under the key of `before` when the batch began now stands under the
           // key of `row`; its `unchanged` values are the target's. Nothing stands under the new
           // key.
    remove,         // `row` holds the key columns (all columns with REPLICA IDENTITY FULL)
    append,         // a row of a table without a key: plain insert
    replace_whole,  // table without a key, FULL: one row equal to `before` becomes `row`
    remove_whole,   // table without a key, FULL: one row equal to `row` goes
  };
  Kind kind = Kind::upsert;
  Row row;
  Row before;         // replace_whole: the old row; move: a row that holds the old key
  Position position;  // of the last change collapsed into it: its version
  // upsert: the plan's first change of the key was an insert. So nothing stood under the key,
  // unless the target has seen more than the plan begins with: a replay, a copy, another writer.
  bool fresh = false;
};

// All planned rows of one table in one batch. For keyed tables keys are distinct and the order of
// rows does not matter, but kinds go in the order move, remove, the rest (a moved row's old key is
// removed, or written anew, by a row of its own). For tables without a key rows are in source
// order.
struct TablePlan {
  const TableSchema* table = nullptr;
  std::vector<PlannedRow> rows;
};

// One shape a table: a table whose shape changes between two changes is in two plans.
struct BatchPlan {
  // Emptied before the rows are written; in one statement. Never with rows that came earlier.
  std::vector<const TableSchema*> truncate;
  bool restart_identity = false;
  std::vector<TablePlan> tables;
  // The changes that it stands for: [first_change, first_change + change_count) of what was
  // planned.
  size_t first_change = 0;
  size_t change_count = 0;
};

class Target {
 public:
  virtual ~Target() = default;

  // (Re)connects where needed and makes this the pipeline's applier, for as long as the connection
  // lives. What applied() reads from here on is final. Errors: refused while another instance is
  // the applier; says which. It does not wait.
  virtual Status lock_applier() = 0;
  // (Re)connects where needed and reads the applied row; nullopt when this pipeline has none yet.
  virtual Result<std::optional<Applied>> applied() = 0;

  // Creates the metadata, the version columns and the tables that ask for it; idempotent. The
  // source's shapes are needed for `create` and for checks. With `print` nothing is run and the SQL
  // is appended.
  virtual Status setup(std::span<const TableSchemaPtr> source_tables, std::string* print) = 0;
  // Writes the first applied row, when there is none.
  virtual Status set_origin(const Applied& origin) = 0;
  // Every reason why these tables can not be applied; empty when all is well.
  virtual Result<std::vector<Error>> check(std::span<const TableSchemaPtr> source_tables) = 0;
  // Removes metadata and version columns. With `print` nothing is run and the SQL is appended.
  virtual Status teardown(std::string* print) = 0;

  // Brings target tables up to shapes whose rows come next, where it may (a column that the source
  // has got); what else does not fit is named by write(). Before begin(). Errors: retryable, or
  // bad_data with the SQL that it was not allowed to run.
  virtual Status adapt(std::span<const TableSchemaPtr> /*shapes*/) { return {}; }

  // Opens a transaction and moves the applied position from `expected` to `next` (compare-and-set
  // on watermark, token and manifest offset). Errors: refused when another applier has moved it.
  virtual Status begin(const Applied& expected, const Applied& next) = 0;
  // Runs a plan inside a savepoint. Error `conflict` (unique, foreign key or exclusion constraint):
  // the savepoint was rolled back, the transaction is open; the caller writes the same changes one
  // by one in source order. Errors: bad_data names table, key and the target's own message;
  // retryable. `in_order`: the plan is one change of such a replay: constraint errors are then
  // bad_data. A target that is opened to park rows says `conflict` for a plan with a row that it
  // does not take, and `rejected` for such a change in order; both leave the transaction open, as
  // if the call had not been.
  virtual Status write(const BatchPlan& plan, bool in_order) = 0;
  // Errors: retryable with the outcome unknown when the reply is lost: read applied() to know.
  virtual Status commit() = 0;
  virtual void rollback() = 0;

  // Ends a running statement from another thread, so that a stop need not wait for it.
  virtual void interrupt() = 0;

  // Where changes wait that the target does not take; null: it has no such place.
  virtual LetterBox* letters() { return nullptr; }
  // Jobs that copy history; null: it can not.
  virtual HistoryBox* history() { return nullptr; }
};

}  // namespace millrace::sink
