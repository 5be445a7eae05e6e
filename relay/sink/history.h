// History: rows that were there before the stream, or are to be brought over again; CopyJob: which
// ones; Chunk: some of them, as the source has them; HistoryBox: where jobs and tombstones are
// kept, beside the rows.
//
// A chunk has a *floor*, a place in the source's WAL: its rows were read by a snapshot that sees
// every commit which begins before the floor, and perhaps later ones
// (docs/decisions/0011-chunks-have-a-floor.md). What is written of it gets the version just below
// the floor, so every streamed change from the floor on wins, whatever arrives first. A delete that
// finds no row leaves a tombstone while its table has an open job, so a chunk that was read before
// it can not bring the row back.
//
// Invariant: the rows of a chunk, and how far its job has come, move in one target transaction, by
// who holds the applier lock. Thread: the target's, where nothing else is said.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "relay/base/result.h"
#include "relay/event/change.h"

namespace millrace::sink {

// Values of the key's columns, in the order in which the table has them (not the index), as
// Postgres text under the settings of the stream's session (ISO, UTC, …); never NULL.
using KeyText = std::vector<std::string>;

// Persisted by its name: to_string().
enum class JobState : uint8_t { waiting, running, paused, done, cancelled, failed };
enum class JobKind : uint8_t {
  initial,  // what was there before the stream; the floor is the stream's origin
  again,    // a table, or a part of it, once more
  keys,     // single rows: repair
};

std::string_view to_string(JobState state);
std::string_view to_string(JobKind kind);
std::optional<JobState> parse_job_state(std::string_view text);
std::optional<JobKind> parse_job_kind(std::string_view text);

struct CopyJob {
  int64_t id = 0;  // given by the box
  JobKind kind = JobKind::initial;
  JobState state = JobState::waiting;
  std::string why;               // of waiting, paused, failed: for people
  std::string table;             // of the source, as display_name writes it
  std::string where;             // SQL over the source's columns; empty: every row
  std::optional<KeyText> after;  // keys behind this one only
  std::optional<KeyText> until;  // up to this one, which is included; set at the start, so that the
                                 // job ends under inserts
  std::vector<KeyText> keys;     // JobKind::keys; not read back once the job has ended
  // A row that stands in the target under a version older than the floor (or none) is replaced;
  // otherwise any row that stands there is kept.
  bool replace = false;
  bool delete_extra = false;  // keys: one that the source does not have is removed from the target
  Lsn floor;                  // 0/0 until it was taken
  std::optional<KeyText> done_to;  // the last key copied
  uint64_t restarts =
      0;  // a TRUNCATE sends the job back to its beginning: chunks read before are void
  uint64_t rows_done = 0;
  std::optional<uint64_t> rows_estimated;
  Lsn consistent_at;  // done: the target is a state of the source again once it has applied this
                      // much
  std::string who;    // asked for it
  TimeMicros created_at, started_at, ended_at;  // by the target's clock; 0: not yet
  bool open() const {
    return state == JobState::waiting || state == JobState::running || state == JobState::paused;
  }
};

// Takes rows of history that the target rejects, in the transaction of their chunk.
class RowPark {
 public:
  virtual ~RowPark() = default;
  // `row` is an insert at its chunk's version. Errors: bad_data when no more may be parked.
  virtual Status park_row(const Change& row, const Error& rejected) = 0;
  // Writes what is not written yet; the chunk is committed next.
  virtual Status flush() = 0;
  // The chunk was given up, and what was parked of it.
  virtual void undone() = 0;
};

// Rows of one job in key order, read by one snapshot. Values are views into `bytes`.
struct Chunk {
  int64_t job = 0;
  uint64_t restarts = 0;  // of the job when it was read
  TableSchemaPtr table;   // with the columns of `rows`, as the source has them now
  Lsn floor;
  // COPY's text format (https://www.postgresql.org/docs/current/sql-copy.html): a line a row, the
  // columns of `table` in order. Or the tuples of its binary format, without head and end.
  std::string copy;
  bool binary = false;
  uint64_t rows = 0;
  std::optional<KeyText> first_key, last_key;  // of `rows`; nullopt: no row
  std::vector<KeyText> absent;                 // JobKind::keys: asked for, and not in the source
  bool last = false;                           // the job ends with it
  Lsn seen_until;  // last: an end of WAL taken after its snapshot, and after the last answer of
                   // RowSource, which may be newer; becomes consistent_at
  RowPark* park = nullptr;  // null: a row that the target rejects ends the chunk
};

// Reads the source on the target's behalf: a partial update may be the first that is heard of a
// row.
class RowSource {
 public:
  virtual ~RowSource() = default;
  // The row that stands under `key` (a row of `table` with at least its key columns) now, one value
  // per column of `table`, as views that live until the next call; nullopt: none.
  virtual Result<std::optional<Row>> row(const TableSchema& table, Row key) = 0;
};

// A table of the target, and those whose rows its own refer to: its parents, theirs, and so on.
struct Kin {
  std::string name;
  std::vector<std::string> above;
};

class HistoryBox {
 public:
  virtual ~HistoryBox() = default;

  // In no transaction. Every job of this pipeline, oldest first; nullopt where it was not set up.
  virtual Result<std::optional<std::vector<CopyJob>>> jobs() = 0;
  // Returns the id. Errors: negative when the table has an open job of its own already.
  virtual Result<int64_t> add_job(const CopyJob& job) = 0;
  // Moves a job from one of `from` to `to`. Errors: negative when it is in none of them.
  virtual Status set_state(int64_t id, std::span<const JobState> from, JobState to,
                           const std::string& why) = 0;
  // Keeps who did what, for `repair`.
  virtual Status journal(const std::string& who, const std::string& what) = 0;
  // True when a row stands in the target table of this source table.
  virtual Result<bool> has_rows(const TableSchema& table) = 0;
  // By the target's foreign keys. A cycle of them is cut somewhere.
  virtual Result<Kin> kin(const TableSchema&) { return Kin(); }

  // The applier's, between two transactions of the stream.
  // Which tables have an open job: from here on their deletes leave tombstones, and partial updates
  // of rows that are not there yet are completed from `rows`; so are those of rows that a job with
  // `replace` has still to reach. Tombstones of other tables are dropped.
  // `rows` outlives the target's use of it. Durable before it returns.
  virtual Status watch(std::span<const std::string> tables, RowSource* rows) = 0;
  // A waiting job runs: floor, until and rows_estimated become what `job` has.
  // Errors: negative when it waits no more.
  virtual Status start_job(const CopyJob& job) = 0;
  // REQUIRES: applied() was read, or a transaction committed, since the session began.
  // One target transaction: the rows that the target does not have newer ones of, and the job's
  // progress. False: void, because the job was stopped or restarted since; nothing was written.
  // A row that the target rejects is parked, unless what stands in the target is newer, or deleted
  // it; one whose parent is not there is not parked. Errors: bad_data names table and key;
  // retryable (read jobs() to know whether it happened); refused when another applier has moved the
  // applied position; negative when rows that are binary must come as text, and nothing was
  // written.
  virtual Result<bool> write_chunk(const Chunk& chunk) = 0;
  // Further chunks of the job of which the last one was written may well be binary.
  virtual bool takes_binary() const { return false; }
};

}  // namespace millrace::sink
