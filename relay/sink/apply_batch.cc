#include "relay/sink/apply_batch.h"

#include <utility>

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

Status write_one_by_one(Target& target, std::span<const Change> changes, Planner& planner) {
  while (!changes.empty()) {
    const size_t size = statement_size(changes);
    TRY_ASSIGN(const auto plans, planner.plan(changes.first(size)));
    for (const BatchPlan& plan : plans) TRY(target.write(plan, true));
    changes = changes.subspan(size);
  }
  return {};
}

Status write_in_pieces(Target& target, std::span<const Change> changes, Planner& planner) {
  size_t middle = 0;
  while (middle < changes.size() / 2) middle += statement_size(changes.subspan(middle));
  if (changes.size() <= kPieceMin || middle == changes.size()) {
    return write_one_by_one(target, changes, planner);
  }
  TRY(apply_batch(target, changes.first(middle), planner));
  return apply_batch(target, changes.subspan(middle), planner);
}

}  // namespace

Status apply_batch(Target& target, std::span<const Change> changes, Planner& planner) {
  while (!changes.empty()) {
    TRY_ASSIGN(const auto plans, planner.plan(changes));
    size_t rest = changes.size();
    for (const BatchPlan& plan : plans) {
      const size_t first = plan.first_change;
      const size_t end = first + plan.change_count;
      Status status = target.write(plan, false);
      if (status) continue;
      if (!is_conflict(status)) return status;
      // This throws the planner's memory away: what comes after is planned again.
      TRY(write_in_pieces(target, changes.subspan(first, end - first), planner));
      rest = end;
      break;
    }
    changes = changes.subspan(rest);
  }
  return {};
}

Status apply_batch(Target& target, std::span<const Change> changes) {
  Planner planner;
  return apply_batch(target, changes, planner);
}

}  // namespace millrace::sink
