#include "verify_world.h"

#include <algorithm>

#include <fmt/format.h>

namespace millrace::chunk {
namespace {

std::string text_of(int key) { return fmt::format("{:06}", key); }
int number_of(const compare::Key& key) { return std::stoi(key.front()); }

uint64_t hash_of(const std::string& text) { return std::hash<std::string>{}(text); }

std::string version(Lsn lsn) { return to_hex(make_version(1, lsn, 0)); }

}  // namespace

VerifyWorld::VerifyWorld(WorldOptions options)
    : options_(std::move(options)), random_(options_.seed) {
  for (int key = 0; key < options_.keys; ++key) put(key, "first");
  rest();
}

void VerifyWorld::put(int key, const std::string& value) { commit(key, value, false); }

void VerifyWorld::rest() {
  for (Commit& one : commits_) show(one);
  while (applied_ < commits_.size()) apply_next();
}

void VerifyWorld::add_extra(int key, bool with_version) {
  target_[key] = {"extra", with_version ? version(Lsn{7}) : ""};
}

void VerifyWorld::set_back(int key, const std::string& value) {
  target_[key] = {value, version(Lsn{8})};
}

bool VerifyWorld::is_damaged(int key) const {
  const auto there = target_.find(key);
  const auto truth = truth_.find(key);
  if (there == target_.end() || truth == truth_.end()) {
    return (there == target_.end()) != (truth == truth_.end());
  }
  return there->second.value != truth->second;
}

void VerifyWorld::commit(int key, std::optional<std::string> value, bool hangs) {
  Commit made{end_, key, std::move(value), false};
  end_.value += 10;
  if (!hangs) show(made);
  commits_.push_back(std::move(made));
}

void VerifyWorld::show(Commit& commit) {
  if (commit.visible) return;
  commit.visible = true;
  if (commit.value) {
    visible_[commit.key] = {*commit.value, "tuple " + to_string(commit.lsn)};
  } else {
    visible_.erase(commit.key);
  }
}

void VerifyWorld::apply_next() {
  const Commit& next = commits_[applied_++];
  written_.insert(next.key);
  if (next.value) {
    target_[next.key] = {*next.value, version(next.lsn)};
    truth_[next.key] = *next.value;
  } else {
    target_.erase(next.key);
    truth_.erase(next.key);
  }
}

// Commits, late visibility and applying, in any order. A row whose commit hangs is locked.
void VerifyWorld::happen() {
  for (int left = dice(options_.moves_max + 1); left > 0; --left) {
    const auto locked = [this](int key) {
      for (const Commit& one : commits_) {
        if (one.key == key && !one.visible) return true;
      }
      return false;
    };
    const int key = dice(options_.keys);
    if (!locked(key) && !options_.left_alone.contains(key)) {
      const bool hangs = dice(1000) < int(options_.hang * 1000);
      if (visible_.contains(key) && dice(3) == 0) {
        commit(key, std::nullopt, hangs);
      } else {
        commit(key, dice(4) == 0 ? "first" : "value " + std::to_string(dice(1000)), hangs);
      }
    }
    if (options_.hot >= 0 && !locked(options_.hot)) commit(options_.hot, "hot", false);
    if (dice(3) == 0) {
      for (Commit& one : commits_) {
        if (!one.visible && dice(2) == 0) show(one);
      }
    }
    for (int some = dice(4); some > 0 && applied_ < commits_.size(); --some) apply_next();
  }
}

VerifySides VerifyWorld::sides() { return {*this, *this, source_side_, target_side_, {}, {}}; }

TablePlan VerifyWorld::plan() const {
  TablePlan plan;
  plan.table = plan.target_table = "public.t";
  plan.keyed = true;
  plan.key_columns = {"id"};
  plan.columns = {"value"};
  return plan;
}

Result<compare::SourceClock::Mark> VerifyWorld::mark() {
  happen();
  return Mark{end_, commits_.size()};
}

Result<bool> VerifyWorld::seen(const Mark& mark) {
  if (options_.lsn_only) return true;
  happen();
  for (size_t i = 0; i < mark.next_xid; ++i) {
    if (!commits_[i].visible) return false;
  }
  return true;
}

Result<Lsn> VerifyWorld::end_of_wal() {
  happen();
  return end_;
}

Result<compare::TargetClock::Place> VerifyWorld::applied() {
  happen();
  if (applied_ < commits_.size()) apply_next();
  return Place{applied_ < commits_.size() ? commits_[applied_].lsn : end_, 1};
}

Result<compare::TargetClock::Place> VerifyWorld::begin() {
  happen();
  snapshot_ = target_;
  return Place{applied_ < commits_.size() ? commits_[applied_].lsn : end_, 1};
}

std::vector<std::pair<int, VerifyWorld::Stored>> VerifyWorld::Side::read(
    const compare::Range& range) {
  world_.happen();
  const Table& table = source_ ? world_.visible_ : *world_.snapshot_;
  std::vector<std::pair<int, Stored>> out;
  for (const auto& [key, row] : table) {
    if (range.after && place(key) <= place(number_of(*range.after))) continue;
    if (range.until && place(key) > place(number_of(*range.until))) continue;
    out.emplace_back(key, row);
  }
  std::sort(out.begin(), out.end(),
            [this](const auto& a, const auto& b) { return place(a.first) < place(b.first); });
  return out;
}

int VerifyWorld::Side::place(int key) const {
  return source_ || world_.options_.scramble == 1 ? key : key * world_.options_.scramble % 101;
}

Result<std::optional<compare::Key>> VerifyWorld::Side::boundary(size_t, const compare::Range& range,
                                                                uint64_t rows) {
  const auto read_rows = read(range);
  if (read_rows.size() < rows) return std::nullopt;
  return compare::Key{text_of(read_rows[rows - 1].first)};
}

Result<uint64_t> VerifyWorld::Side::count(size_t, const compare::Range& range) {
  return uint64_t{read(range).size()};
}

Result<compare::Sum> VerifyWorld::Side::sum(size_t, const compare::Range& range,
                                            const std::string& floor) {
  compare::Sum sum;
  uint64_t hash = 0;
  for (const auto& [key, row] : read(range)) {
    ++sum.rows;
    hash += hash_of(text_of(key) + row.value);
    if (!floor.empty() && row.mark >= floor) ++sum.changing;
  }
  sum.hash = std::to_string(hash);
  return sum;
}

Result<compare::Sum> VerifyWorld::Side::whole(size_t table) {
  (void)table;
  compare::Sum sum;
  uint64_t hash = 0, marks = 0;
  for (const auto& [key, row] : read({})) {
    ++sum.rows;
    hash += hash_of(text_of(key) + row.value);
    marks += hash_of(row.mark);
  }
  sum.hash = std::to_string(hash);
  sum.marks = std::to_string(marks);
  return sum;
}

Result<std::vector<compare::Digest>> VerifyWorld::Side::digests(size_t,
                                                                const compare::Range& range) {
  std::vector<compare::Digest> out;
  for (const auto& [key, row] : read(range)) out.push_back({{text_of(key)}, row.value, row.mark});
  return out;
}

Result<std::vector<std::optional<compare::Row>>> VerifyWorld::Side::rows(
    size_t, std::span<const compare::Key> keys, bool) {
  std::vector<std::optional<compare::Row>> out(keys.size());
  const auto all = read({});
  for (size_t i = 0; i < keys.size(); ++i) {
    for (const auto& [key, row] : all) {
      if (key == number_of(keys[i])) out[i] = compare::Row{{row.value}, {}, row.mark};
    }
  }
  return out;
}

}  // namespace millrace::chunk
