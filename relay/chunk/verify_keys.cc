// Verify: single keys, looked at again until each is settled.
#include <algorithm>
#include <utility>

#include "relay/chunk/verify.h"

namespace millrace::chunk {
namespace {

constexpr size_t kHashesAtOnce = 100'000;
constexpr size_t kKeysAQuery = 1000;
constexpr size_t kSaidMax = 1'000'000;
constexpr Millis kPauseMax{1000};

Result<std::vector<std::optional<compare::Row>>> read_rows(compare::Reader& reader, size_t number,
                                                           std::span<const compare::Key> keys,
                                                           bool values) {
  std::vector<std::optional<compare::Row>> out;
  while (!keys.empty()) {
    const auto some = keys.first(std::min(kKeysAQuery, keys.size()));
    keys = keys.subspan(some.size());
    TRY_ASSIGN(auto rows, reader.rows(number, some, values));
    std::move(rows.begin(), rows.end(), std::back_inserter(out));
  }
  return out;
}

}  // namespace

// False: `undecided_`. What is left of the suspects is counted as unresolved.
Result<bool> Verify::settle(size_t number) {
  for (int round = 0; round < options_.rounds && !suspects_.empty(); ++round) {
    if (round > 0) TRY(pause(std::min(options_.pause * (1 << std::min(round - 1, 10)), kPauseMax)));
    TRY_ASSIGN(const bool looked, look_at_keys(number));
    if (!looked) return false;
  }
  for (const Suspect& suspect : suspects_) {
    if (!first_time(suspect.key)) continue;
    ++now_.unresolved;
    RowReport row;
    row.kind = "unresolved";
    row.why = suspect.looks.why();
    for (size_t i = 0; i < suspect.key.size(); ++i) {
      row.key.emplace_back(plan_->key_columns[i], suspect.key[i]);
    }
    list(std::move(row));
  }
  suspects_.clear();
  return true;
}

// Once at every suspect, some of them behind one floor.
Result<bool> Verify::look_at_keys(size_t number) {
  const size_t at_once = std::max<size_t>(100, kHashesAtOnce / plan_->columns.size());
  std::vector<Suspect> left;
  std::span<Suspect> rest(suspects_);
  while (!rest.empty()) {
    const auto some = rest.first(std::min(at_once, rest.size()));
    rest = rest.subspan(some.size());
    std::vector<compare::Key> keys;
    for (const Suspect& suspect : some) keys.push_back(suspect.key);
    TRY_ASSIGN(const bool floored, take_floor());
    if (!floored) return false;
    TRY_ASSIGN(const Rows source, read_rows(sides_.source, number, keys, options_.values));
    TRY(pace(keys.size()));
    TRY_ASSIGN(const bool opened, open_target());
    if (!opened) return false;
    TRY_ASSIGN(const Rows target, read_rows(sides_.target, number, keys, options_.values));
    TRY_ASSIGN(const bool judged, close_target());
    if (!judged) return false;
    for (size_t i = 0; i < some.size(); ++i) judge(some[i], source[i], target[i], left);
  }
  suspects_ = std::move(left);
  return true;
}

void Verify::judge(Suspect& suspect, const std::optional<compare::Row>& source,
                   const std::optional<compare::Row>& target, std::vector<Suspect>& left) {
  Sight sight;
  sight.in_source = source.has_value();
  sight.in_target = target.has_value();
  sight.changing = target && changing(target->mark);
  sight.same = source && target && source->hashes == target->hashes;
  if (source) sight.tuple = source->mark;
  const Verdict verdict = suspect.looks.look(sight);
  if (verdict == Verdict::again) {
    left.push_back(std::move(suspect));
  } else if (verdict != Verdict::equal || !suspect.target_only) {
    count(verdict, suspect.key, source, target);
  }
}

void Verify::count(Verdict verdict, const compare::Key& key,
                   const std::optional<compare::Row>& source,
                   const std::optional<compare::Row>& target) {
  if (verdict == Verdict::equal) ++now_.equal;
  if (verdict == Verdict::equal || verdict == Verdict::gone || !first_time(key)) return;
  RowReport row;
  switch (verdict) {
    case Verdict::equal:
    case Verdict::gone:
    case Verdict::again:
      return;
    case Verdict::missing:
      ++now_.missing;
      row.kind = "missing";
      break;
    case Verdict::extra:
      ++now_.extra;
      row.kind = "extra";
      break;
    case Verdict::different:
      ++now_.different;
      row.kind = "different";
      for (size_t i = 0; i < plan_->columns.size(); ++i) {
        if (source->hashes[i] == target->hashes[i]) continue;
        row.columns.push_back(plan_->columns[i]);
        if (plan_->what == Compared::drift) ++now_.drifting[plan_->columns[i]];
        if (!options_.values) continue;
        row.source.push_back(source->values[i]);
        row.target.push_back(target->values[i]);
      }
      break;
  }
  for (size_t i = 0; i < key.size(); ++i) row.key.emplace_back(plan_->key_columns[i], key[i]);
  list(std::move(row));
}

bool Verify::first_time(const compare::Key& key) {
  if (said_.size() >= kSaidMax) return true;
  return said_.insert(std::hash<std::string>{}(compare::array_text(key))).second;
}

void Verify::list(RowReport row) {
  if (report_.rows.size() >= options_.listed_max) {
    ++report_.rows_left_out;
    return;
  }
  row.table = now_.table;
  report_.rows.push_back(std::move(row));
}

}  // namespace millrace::chunk
