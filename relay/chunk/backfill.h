// Backfill: carries the jobs of a HistoryBox through: from the source, chunk by chunk, to the
// target, beside the stream.
//
//   watch (tombstones) ─► mark, seen ─► start_job ─► chunk … chunk ─► done ─► watch without it
//                  readers' threads ─┘               └─ turn(): one between two transactions
//
// The box is the only truth: jobs are read from it when the applier has connected, every second,
// and whenever something was refused or lost; what other processes change there is picked up so.
// Invariant: a mark is made only when the target keeps tombstones of its table, durably; a chunk is
// written only by who applies. One thread, the applier's; the readers have their own.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/chunk/job_reader.h"
#include "relay/chunk/job_source.h"
#include "relay/chunk/throttle.h"
#include "relay/sink/history.h"
#include "relay/sink/target.h"

namespace millrace::chunk {

enum class OnExisting { fail, keep };

struct Options {
  std::function<std::unique_ptr<JobSource>(std::stop_token)> source;
  std::function<std::unique_ptr<sink::RowSource>(std::stop_token)> rows;
  // What is copied without being asked for: tables of the stream, when it begins or they are new.
  bool on_start = false;
  std::vector<TableSchemaPtr> tables;
  std::function<std::string(const TableSchema&)> target_name;  // for messages
  OnExisting on_existing = OnExisting::fail;
  size_t parallel = 2;
  Millis chunk_time{500};
  uint64_t memory = 16U << 20;  // of chunks that wait
  ThrottleOptions throttle;
  Millis look_every{1000};
  // A job that can not go on without a hand is an error of turn().
  bool exit_on_stop = false;
};

// Why a job waits that nobody has begun with.
inline constexpr const char* kWaitsItsTurn =
    "its turn has not come yet (parents first, then backfill.parallel at a time)";

struct Progress {
  std::string state = "none";  // none | waiting | running | paused | throttled | done
  std::string table;
  std::optional<double> percent, rows_per_s, eta_s;
  std::string why;
};

class Backfill {
 public:
  Backfill(Options options, const Clock& clock);

  // The target is ours: reads the jobs, and adds those of on_start. `fresh`: the stream has applied
  // nothing yet. `park` takes rows that the target rejects; null: they pause their copy. Errors:
  // refused (on_existing), and the box's.
  Status attach(sink::Target& target, bool fresh, std::stop_token stop,
                sink::RowPark* park = nullptr);
  // Between two transactions: writes at most one chunk. `busy`: the stream has something to do, and
  // gets as much time as chunks do. Errors: retryable and refused as the box has them; attach()
  // anew then.
  Status turn(bool busy);
  // Stops reading. What was read and not written is dropped.
  void detach();

  bool chunk_waits();    // turn() would write one at once
  bool open() const;     // some job is to be carried through
  bool running() const;  // … and needs no hand for it
  bool moves() const;    // … and has just come further, or has just begun
  // No job is open, and the target is a state of the source when it has applied so much.
  bool settled(Lsn applied) const;
  Progress progress();

 private:
  using Jobs = std::vector<sink::CopyJob>;

  Status reload();
  Status add_jobs_on_start(bool fresh);
  Result<std::vector<TableSchemaPtr>> tables_to_add(bool fresh);
  std::string target_name(const TableSchema& table) const;
  Status nothing_paused() const;
  Status watch_open_tables();
  void end_readers();
  void start_readers();
  Status learn_kin();
  bool waits_for_parent(const sink::CopyJob& job) const;
  Status start_prepared(JobReader& reader);
  Status stop_failed(JobReader& reader);
  Status hold(int64_t job, const Error& error);
  JobReader* next_with_chunk();
  Status write(JobReader& reader);
  Result<Lsn> end_of_wal();
  sink::CopyJob* find(int64_t id);
  void drop(int64_t id);
  void count(uint64_t rows);

  Options options_;
  const Clock& clock_;
  ChunkBudget budget_;
  std::unique_ptr<sink::RowSource> rows_;
  std::unique_ptr<JobSource> marks_;  // of ours; readers have their own
  std::stop_token stop_;              // of the applier
  sink::Target* target_ = nullptr;
  sink::RowPark* park_ = nullptr;
  sink::HistoryBox* box_ = nullptr;  // null: not attached, or the target has none
  Jobs jobs_;
  std::map<std::string, sink::Kin> kin_;  // of source tables
  bool stale_ = true;                     // jobs_ is to be read again
  SteadyTime next_look_;
  std::optional<std::vector<std::string>> watched_;
  std::set<std::string> told_;  // tables that have no key
  std::vector<std::unique_ptr<JobReader>> readers_;
  size_t turn_of_ = 0;     // readers take turns
  SteadyTime moved_at_;    // a chunk was written, or attach()ed
  SteadyTime next_chunk_;  // not before, while the stream is busy
  std::vector<uint64_t> adapted_;
  std::set<int64_t> text_only_;  // jobs of which a binary chunk could not be written
  struct Written {
    SteadyTime at;
    uint64_t rows;
  };
  std::deque<Written> written_;  // of the last seconds
};

}  // namespace millrace::chunk
