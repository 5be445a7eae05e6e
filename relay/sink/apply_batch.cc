#include "relay/sink/apply_batch.h"

#include <utility>
#include <vector>

namespace millrace::sink {
namespace {

// Below this a conflicting piece is no longer halved but written change by change.
constexpr size_t kPieceMin = 32;

bool is_conflict(const Status& status) {
  return !status && status.error().code() == ErrorCode::conflict;
}

// How many changes from the first on belong to its statement: more than one only for a truncate.
size_t statement_size(std::span<const Change> changes) {
  size_t size = 1;
  if (changes.front().op != Op::truncate) return size;
  while (size < changes.size() && changes[size].op == Op::truncate &&
         changes[size].position.commit_lsn == changes.front().position.commit_lsn &&
         changes[size].truncate_first == changes.front().truncate_first) {
    ++size;
  }
  return size;
}

class Writer {
 public:
  Writer(Target& target, Planner& planner, Parking* parking)
      : target_(target), planner_(planner), parking_(parking) {}

  // What belongs to a parked key is parked, the rest is written. A TRUNCATE goes alone: what stands
  // before it is parked or written before its tables' letters are forgotten.
  Status write(std::span<const Change> changes) {
    if (parking_ == nullptr || !parking_->any()) return write_free(changes);
    Parking& parking = *parking_;
    while (!changes.empty()) {
      size_t size = 0;
      if (changes.front().op == Op::truncate) {
        size = statement_size(changes);
        TRY(write_free(changes.first(size)));
        TRY(parking.truncated(changes.first(size)));
      } else {
        std::vector<Change> free;
        for (; size < changes.size() && changes[size].op != Op::truncate; ++size) {
          TRY_ASSIGN(const bool behind, parking.behind(changes[size]));
          if (behind) TRY(parking.park(changes[size], nullptr));
          if (!behind) free.push_back(changes[size]);
        }
        TRY(write_free(free));
      }
      changes = changes.subspan(size);
    }
    return {};
  }

 private:
  bool anything_parked() const { return parking_ != nullptr && parking_->any(); }

  Status write_free(std::span<const Change> changes) {
    while (!changes.empty()) {
      TRY_ASSIGN(const auto plans, planner_.plan(changes));
      size_t rest = changes.size();
      for (const BatchPlan& plan : plans) {
        const size_t first = plan.first_change;
        const size_t end = first + plan.change_count;
        Status status = target_.write(plan, false);
        if (status) continue;
        if (!is_conflict(status)) return status;
        // This throws the planner's memory away: what comes after is planned again.
        TRY(write_in_pieces(changes.subspan(first, end - first)));
        rest = end;
        break;
      }
      changes = changes.subspan(rest);
      // What was parked just now may be the key of what comes after.
      if (!changes.empty() && anything_parked()) return write(changes);
    }
    return {};
  }

  Status write_in_pieces(std::span<const Change> changes) {
    size_t middle = 0;
    while (middle < changes.size() / 2) middle += statement_size(changes.subspan(middle));
    if (changes.size() <= kPieceMin || middle == changes.size()) return write_one_by_one(changes);
    TRY(write(changes.first(middle)));
    return write(changes.subspan(middle));
  }

  Status write_one_by_one(std::span<const Change> changes) {
    while (!changes.empty()) {
      const size_t size = statement_size(changes);
      TRY(write_one(changes.first(size)));
      changes = changes.subspan(size);
    }
    return {};
  }

  // One change, or one TRUNCATE.
  Status write_one(std::span<const Change> statement) {
    const Change& change = statement.front();
    if (anything_parked() && change.op != Op::truncate) {
      TRY_ASSIGN(const bool behind, parking_->behind(change));
      if (behind) return parking_->park(change, nullptr);
    }
    TRY_ASSIGN(const auto plans, planner_.plan(statement));
    for (const BatchPlan& plan : plans) {
      Status status = target_.write(plan, true);
      if (status) continue;
      const bool parks = parking_ != nullptr && parking_->takes_new();
      if (status.error().code() != ErrorCode::rejected || !parks) return status;
      return parking_->park(change, &status.error());
    }
    if (change.op == Op::truncate && anything_parked()) return parking_->truncated(statement);
    return {};
  }

  Target& target_;
  Planner& planner_;
  Parking* parking_;
};

}  // namespace

Status apply_batch(Target& target, std::span<const Change> changes, Planner& planner,
                   Parking* parking) {
  TRY(Writer(target, planner, parking).write(changes));
  return parking != nullptr ? parking->flush() : Status();
}

Status apply_batch(Target& target, std::span<const Change> changes) {
  Planner planner;
  return apply_batch(target, changes, planner);
}

}  // namespace millrace::sink
