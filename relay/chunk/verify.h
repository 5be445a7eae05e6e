// Verify: compares the tables of a pipeline, source and target, while both are written to.
//
//   floor ─► source: sums of some chunks ─► end of WAL ─► target has applied it ─► target: sums
//     sums agree and nothing changed from the floor on: equal
//     else, the same with a hash for each row: those that agree and did not change are equal
//     else, the same with single keys, a new floor each time, until each is settled or given up
//
// Invariant: a row counts as equal, different, missing or extra only by a settled look (verdict.h);
// one that never settles is `unresolved`, and so is all of a table that could not be looked at.
// Neither side waits for it. Memory: the keys and hashes of some chunks. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <unordered_set>
#include <vector>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/chunk/verdict.h"
#include "relay/chunk/verify_plan.h"
#include "relay/event/compare.h"
#include "relay/sink/target.h"

namespace millrace::chunk {

struct VerifyOptions {
  uint64_t chunk_rows = 5000;
  uint64_t chunks_at_once = 64;  // behind one floor
  Millis batch_time{2000};       // likewise
  uint64_t suspects_max = 10'000;
  int rounds = 12;             // looks at a key, or at a table without one
  Millis pause{50};            // before the second look; doubles up to 1 s
  Millis wait{60'000};         // for the source's transactions; for a target that does not move
  uint64_t listed_max = 1000;  // differences, and unresolved rows
  double sample = 1.0;         // share of the chunks
  uint64_t seed = 0;           // of the choice
  double rows_per_s_max = 0;   // 0: no limit
  uint64_t ranges = 1;         // of about as many rows each, reported apart
  bool values = false;         // the report shows the beginnings of values
};

struct RowReport {
  std::string table;
  std::vector<std::pair<std::string, std::string>> key;  // by the source's columns
  std::string kind;                                      // missing | extra | different | unresolved
  std::vector<std::string> columns;                      // of the target: those that differ
  std::vector<std::optional<std::string>> source, target;  // with `values`, for `columns`
  std::string why;                                         // unresolved
};

// Rows of a range of keys.
struct RangeReport {
  compare::Range range;
  uint64_t compared = 0, equal = 0, missing = 0, extra = 0, different = 0, unresolved = 0;
};

struct TableReport {
  std::string table, target_table;
  bool keyed = true;
  uint64_t compared = 0, equal = 0, missing = 0, extra = 0, different = 0, unresolved = 0;
  std::string why;  // it could not be compared, or not as a whole
  Lsn from, to;     // as VerifyReport has them
  TimeMicros started_at, ended_at;
  std::vector<RangeReport> ranges;           // with VerifyOptions::ranges
  std::map<std::string, uint64_t> drifting;  // by column: rows that differ there
  bool undecided() const { return unresolved > 0 || !why.empty(); }
  bool differs() const { return missing + extra + different > 0; }
};

struct VerifyReport {
  Lsn from, to;  // every row was compared at a place in the stream between them
  uint32_t epoch = 0;
  std::vector<TableReport> tables;
  std::vector<RowReport> rows;  // the first `listed_max` of each table's kinds together
  uint64_t rows_left_out = 0;   // that were not listed
};

struct VerifySides {
  compare::SourceClock& source_clock;
  compare::TargetClock& target_clock;
  compare::Reader& source;
  compare::Reader& target;
  // Jobs that copy history; empty: the target has no such place.
  std::function<Result<std::vector<sink::CopyJob>>()> jobs;
  // Called now and then: rows compared so far of the table.
  std::function<void(const TableReport&)> progress;
};

class Verify {
 public:
  Verify(VerifySides sides, const Clock& clock, VerifyOptions options, std::stop_token stop)
      : sides_(std::move(sides)), clock_(clock), options_(options), stop_(std::move(stop)) {}

  // Tables are numbered as the readers have them. Errors: the connections'; what a table itself
  // does not allow is in its report. `range`: of a table with a key.
  Result<TableReport> table(size_t number, const TablePlan& plan, const compare::Range& range = {});
  const VerifyReport& report() const { return report_; }
  VerifyReport& report() { return report_; }

 private:
  struct Piece {
    compare::Range range;
    compare::Sum sum;
  };
  // A range whose sums did not agree, or hold rows that are changing.
  struct Unequal {
    compare::Range range;
    std::vector<compare::Range> parts;  // the target has many more rows there: it is read by these
  };
  struct Suspect {
    compare::Key key;
    // Its range had no such row in the source. If the source has it all the same, then by its own
    // order it is in another range, or it was written since: it is not counted here.
    bool target_only = false;
    KeyCase looks;
  };
  using Rows = std::vector<std::optional<compare::Row>>;

  // verify_moments.cc: false: it can not be had, and `undecided_` says why.
  Result<bool> take_floor();
  Result<bool> open_target();
  Result<bool> close_target();
  Result<bool> wait_until_seen(const compare::SourceClock::Mark& mark);
  Result<bool> wait_until_applied(Lsn end);
  Result<bool> look_at_jobs(bool first);
  Status pause(Millis wait);
  bool changing(const std::string& mark) const;

  // verify.cc
  Status keyed(size_t number, const compare::Range& range);
  Status sampled_range(size_t number, const compare::Range& range);
  Status one_range(size_t number, compare::Range rest);
  Result<std::vector<compare::Range>> cut(size_t number, const compare::Range& range);
  Result<bool> batch(size_t number, compare::Range& rest, std::vector<Unequal>& unequal);
  Result<bool> read_pieces(size_t number, compare::Range& rest, std::vector<Piece>& pieces);
  Result<bool> by_rows(size_t number, std::span<const Unequal> ranges);
  Result<bool> in_parts(size_t number, const Unequal& range);
  Result<std::vector<compare::Range>> split(size_t number, compare::Range rest);
  void merge(const std::vector<compare::Digest>& source, std::vector<compare::Digest> target,
             std::unordered_set<std::string>& met);
  void add_unmet(std::vector<compare::Digest> source, const std::unordered_set<std::string>& met);
  bool chosen();
  Status pace(uint64_t rows);

  // verify_keys.cc
  Result<bool> settle(size_t number);
  Result<bool> look_at_keys(size_t number);
  void judge(Suspect& suspect, const std::optional<compare::Row>& source,
             const std::optional<compare::Row>& target, std::vector<Suspect>& left);
  void count(Verdict verdict, const compare::Key& key, const std::optional<compare::Row>& source,
             const std::optional<compare::Row>& target);
  // False: this key was said already. Where the target sorts otherwise, it is in several ranges.
  bool first_time(const compare::Key& key);
  void list(RowReport row);

  // verify_wholes.cc
  Status whole(size_t number);

  VerifySides sides_;
  const Clock& clock_;
  const VerifyOptions options_;
  std::stop_token stop_;

  VerifyReport report_;
  const TablePlan* plan_ = nullptr;
  TableReport now_;
  std::vector<Suspect> suspects_;
  std::unordered_set<uint64_t> said_;  // hashes of keys that are no equal rows; bounded
  std::string undecided_;
  uint64_t chunk_number_ = 0;
  uint64_t looked_at_ = 0;         // chunks of the range
  std::optional<uint64_t> drawn_;  // the only one to look at

  Lsn floor_;
  std::string floor_version_;  // hex, as marks of the target are
  compare::TargetClock::Place place_;
  std::vector<int64_t> jobs_before_;
};

}  // namespace millrace::chunk
