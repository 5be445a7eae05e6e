#include "relay/chunk/verify.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace millrace::chunk {
namespace {

constexpr size_t kRangesByRows = 8;  // at once
constexpr uint64_t kSplitFrom = 4;   // times the rows of a chunk

// Source: "SplitMix64", https://prng.di.unimi.it/splitmix64.c
uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

Result<TableReport> Verify::table(size_t number, const TablePlan& plan,
                                  const compare::Range& range) {
  plan_ = &plan;
  now_ = TableReport();
  now_.table = plan.table;
  now_.target_table = plan.target_table;
  now_.keyed = plan.keyed;
  suspects_.clear();
  said_.clear();
  undecided_.clear();
  chunk_number_ = 0;
  now_.started_at = clock_.wall();
  const Status done = plan.keyed ? keyed(number, range) : whole(number);
  sides_.target_clock.end();
  if (!done) {
    // What a row or an expression does not allow is this table's; the rest goes on.
    if (done.error().code() != ErrorCode::bad_data) return fail(done.error());
    undecided_ = done.error().describe();
  }
  now_.why = undecided_;
  now_.ended_at = clock_.wall();
  now_.unresolved += suspects_.size();
  now_.compared = now_.equal + now_.missing + now_.extra + now_.different + now_.unresolved;
  report_.tables.push_back(now_);
  return now_;
}

Status Verify::keyed(size_t number, const compare::Range& range) {
  if (options_.ranges <= 1) return sampled_range(number, range);
  TRY_ASSIGN(const auto ranges, cut(number, range));
  for (const compare::Range& one : ranges) {
    const TableReport before = now_;
    TRY(sampled_range(number, one));
    RangeReport part;
    part.range = one;
    part.equal = now_.equal - before.equal;
    part.missing = now_.missing - before.missing;
    part.extra = now_.extra - before.extra;
    part.different = now_.different - before.different;
    part.unresolved = now_.unresolved - before.unresolved + suspects_.size();
    part.compared = part.equal + part.missing + part.extra + part.different + part.unresolved;
    now_.ranges.push_back(std::move(part));
    if (!undecided_.empty()) return {};
  }
  return {};
}

// About as many rows of the source in each, now; what comes later makes some larger.
Result<std::vector<compare::Range>> Verify::cut(size_t number, const compare::Range& range) {
  TRY_ASSIGN(const uint64_t rows, sides_.source.count(number, range));
  const uint64_t each = std::max<uint64_t>(1, (rows + options_.ranges - 1) / options_.ranges);
  std::vector<compare::Range> out;
  compare::Range rest = range;
  while (out.size() + 1 < options_.ranges) {
    TRY_ASSIGN(const auto until, sides_.source.boundary(number, rest, each));
    if (!until) break;
    out.push_back({rest.after, until});
    rest.after = until;
  }
  out.push_back(std::move(rest));
  return out;
}

Status Verify::one_range(size_t number, compare::Range rest) {
  bool more = true;
  while (more) {
    std::vector<Unequal> unequal;
    TRY_ASSIGN(more, batch(number, rest, unequal));
    if (!undecided_.empty()) return {};
    TRY_ASSIGN(const bool looked, by_rows(number, unequal));
    if (!looked) return {};
    if (sides_.progress) sides_.progress(now_);
  }
  TRY(settle(number));
  return {};
}

// A share of few chunks may be none of them, and nothing compared is nothing proven: then one is
// drawn.
Status Verify::sampled_range(size_t number, const compare::Range& range) {
  drawn_.reset();
  looked_at_ = 0;
  const uint64_t before = chunk_number_;
  TRY(one_range(number, range));
  if (looked_at_ > 0 || !undecided_.empty() || chunk_number_ == before) return {};
  drawn_ = before + mixed(options_.seed) % (chunk_number_ - before);
  chunk_number_ = before;
  return one_range(number, range);
}

// The next chunks behind one floor; false: there are no more, or `undecided_`.
Result<bool> Verify::batch(size_t number, compare::Range& rest, std::vector<Unequal>& unequal) {
  TRY_ASSIGN(const bool floored, take_floor());
  if (!floored) return false;
  std::vector<Piece> pieces;
  TRY_ASSIGN(const bool more, read_pieces(number, rest, pieces));
  if (pieces.empty()) return more;
  TRY_ASSIGN(const bool opened, open_target());
  if (!opened) return false;
  uint64_t equal = 0;
  for (const Piece& piece : pieces) {
    TRY_ASSIGN(const compare::Sum sum, sides_.target.sum(number, piece.range, floor_version_));
    if (sum.changing == 0 && sum.rows == piece.sum.rows && sum.hash == piece.sum.hash) {
      equal += sum.rows;
    } else {
      Unequal one{piece.range, {}};
      if (sum.rows > options_.chunk_rows * kSplitFrom) {
        TRY_ASSIGN(one.parts, split(number, piece.range));
      }
      unequal.push_back(std::move(one));
    }
  }
  TRY_ASSIGN(const bool judged, close_target());
  if (!judged) return false;
  now_.equal += equal;
  return more;
}

// True: there are more behind them.
Result<bool> Verify::read_pieces(size_t number, compare::Range& rest, std::vector<Piece>& pieces) {
  const SteadyTime began = clock_.now();
  while (pieces.size() < options_.chunks_at_once && clock_.now() - began < options_.batch_time) {
    if (stop_.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    TRY_ASSIGN(const auto until, sides_.source.boundary(number, rest, options_.chunk_rows));
    Piece piece;
    piece.range = {rest.after, until ? until : rest.until};
    if (chosen()) {
      TRY_ASSIGN(piece.sum, sides_.source.sum(number, piece.range, ""));
      TRY(pace(piece.sum.rows));
      pieces.push_back(std::move(piece));
    }
    if (!until) return false;
    rest.after = until;
  }
  return true;
}

// The parts end where the target's rows say.
Result<std::vector<compare::Range>> Verify::split(size_t number, compare::Range rest) {
  std::vector<compare::Range> parts;
  while (true) {
    TRY_ASSIGN(const auto until, sides_.target.boundary(number, rest, options_.chunk_rows));
    if (!until) break;
    parts.push_back({rest.after, until});
    rest.after = until;
  }
  parts.push_back(std::move(rest));
  return parts;
}

Result<bool> Verify::by_rows(size_t number, std::span<const Unequal> ranges) {
  while (!ranges.empty()) {
    if (!ranges.front().parts.empty()) {
      TRY_ASSIGN(const bool done, in_parts(number, ranges.front()));
      if (!done) return false;
      ranges = ranges.subspan(1);
      continue;
    }
    size_t count = 1;
    while (count < std::min(kRangesByRows, ranges.size()) && ranges[count].parts.empty()) ++count;
    const auto some = ranges.first(count);
    ranges = ranges.subspan(count);
    TRY_ASSIGN(const bool floored, take_floor());
    if (!floored) return false;
    std::vector<std::vector<compare::Digest>> source, target;
    for (const Unequal& one : some) {
      TRY_ASSIGN(auto digests, sides_.source.digests(number, one.range));
      TRY(pace(digests.size()));
      source.push_back(std::move(digests));
    }
    TRY_ASSIGN(const bool opened, open_target());
    if (!opened) return false;
    for (const Unequal& one : some) {
      TRY_ASSIGN(auto digests, sides_.target.digests(number, one.range));
      target.push_back(std::move(digests));
    }
    TRY_ASSIGN(const bool judged, close_target());
    if (!judged) return false;
    for (size_t i = 0; i < some.size(); ++i) {
      std::unordered_set<std::string> met;
      merge(source[i], std::move(target[i]), met);
      add_unmet(std::move(source[i]), met);
    }
    if (suspects_.size() < options_.suspects_max) continue;
    TRY_ASSIGN(const bool settled, settle(number));
    if (!settled) return false;
  }
  return true;
}

// The source's rows of the whole range beside one part of the target's after the other.
Result<bool> Verify::in_parts(size_t number, const Unequal& range) {
  std::unordered_set<std::string> met;
  std::vector<compare::Digest> source;
  for (const compare::Range& part : range.parts) {
    TRY_ASSIGN(const bool floored, take_floor());
    if (!floored) return false;
    TRY_ASSIGN(source, sides_.source.digests(number, range.range));
    TRY_ASSIGN(const bool opened, open_target());
    if (!opened) return false;
    TRY_ASSIGN(auto target, sides_.target.digests(number, part));
    TRY_ASSIGN(const bool judged, close_target());
    if (!judged) return false;
    merge(source, std::move(target), met);
    if (suspects_.size() < options_.suspects_max) continue;
    TRY_ASSIGN(const bool settled, settle(number));
    if (!settled) return false;
  }
  add_unmet(std::move(source), met);
  return true;
}

// Equal rows that did not change are settled; every other key becomes a suspect. `met`: keys that
// both sides have.
void Verify::merge(const std::vector<compare::Digest>& source, std::vector<compare::Digest> target,
                   std::unordered_set<std::string>& met) {
  std::unordered_map<std::string, size_t> by_key;
  for (size_t i = 0; i < source.size(); ++i) {
    by_key.emplace(compare::array_text(source[i].key), i);
  }
  for (compare::Digest& there : target) {
    const auto here = by_key.find(compare::array_text(there.key));
    if (here == by_key.end()) {
      suspects_.push_back({std::move(there.key), true, {}});
      continue;
    }
    if (!met.insert(here->first).second) continue;  // in an earlier part
    if (source[here->second].hash == there.hash && !changing(there.mark)) {
      ++now_.equal;
    } else {
      suspects_.push_back({std::move(there.key), false, {}});
    }
  }
}

void Verify::add_unmet(std::vector<compare::Digest> source,
                       const std::unordered_set<std::string>& met) {
  for (compare::Digest& one : source) {
    if (met.contains(compare::array_text(one.key))) continue;
    suspects_.push_back({std::move(one.key), false, {}});
  }
}

bool Verify::chosen() {
  const uint64_t chunk = chunk_number_++;
  const uint64_t dice = mixed(options_.seed ^ mixed(chunk));
  const bool looked = drawn_
                          ? chunk == *drawn_
                          : options_.sample >= 1 || double(dice >> 11) * 0x1p-53 < options_.sample;
  if (looked) ++looked_at_;
  return looked;
}

Status Verify::pace(uint64_t rows) {
  if (options_.rows_per_s_max <= 0) return {};
  return pause(Millis(static_cast<int64_t>(double(rows) * 1000 / options_.rows_per_s_max)));
}

}  // namespace millrace::chunk
