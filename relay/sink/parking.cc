#include "relay/sink/parking.h"

#include <algorithm>
#include <set>
#include <utility>

#include "relay/base/mutation.h"

namespace millrace::sink {
namespace {

constexpr uint64_t kUnwrittenBytesMax = uint64_t{8} << 20;
constexpr size_t kErrorsKept = 10;

}  // namespace

std::string key_columns(const TableSchema& table) {
  std::string out;
  for (const Column& column : table.columns) {
    if (column.in_key) out += (out.empty() ? "" : ", ") + quote_if_needed(column.name);
  }
  return out;
}

Status Parking::load() {
  tables_.clear();
  letters_ = 0;
  edits_ = -1;
  unwritten_.clear();
  unwritten_bytes_ = 0;
  news_ = News{};
  TRY_ASSIGN(const auto keys, box_.parked_keys());
  if (!keys) {
    if (!options_.takes_new) return {};
    return fail(ErrorCode::bad_data,
                "the target has no table for parked rows, which target.on_bad_row: park needs",
                "millrace setup");
  }
  for (const LetterKey& letter : *keys) remember(letter);
  return {};
}

Status Parking::begun() {
  news_ = News{};
  const int64_t edits = box_.edits();
  if (any() && edits != edits_) TRY(load());
  edits_ = edits;
  return {};
}

void Parking::remember(const LetterKey& letter) {
  ++letters_;
  Table& table = tables_[letter.table];
  table.key_columns = letter.key_columns;
  if (letter.key_columns.empty()) return;
  table.keys.insert(letter.key);
  if (letter.old_key) table.keys.insert(*letter.old_key);
}

Result<bool> Parking::behind(const Change& change) {
  if (mutated("no_parked_keys")) return false;
  const auto table = tables_.find(display_name(*change.table));
  if (table == tables_.end() || table->second.key_columns.empty()) return false;
  if (table->second.key_columns != key_columns(*change.table)) {
    return fail(Error(ErrorCode::bad_data,
                      "rows of this table are parked under the key (" + table->second.key_columns +
                          "), and its key is now (" + key_columns(*change.table) +
                          "): which belong together is not known",
                      "`millrace letters retry --all`, or drop them")
                    .at("table " + table->first)
                    .at("position " + to_string(change.position)));
  }
  const auto& keys = table->second.keys;
  codec_.key(change, false, key_);
  if (keys.contains(key_)) return true;
  if (change.before.empty() || change.after.empty()) return false;
  codec_.key(change, true, key_);
  return keys.contains(key_);
}

Status Parking::park(const Change& change, const Error* rejected) {
  if (letters_ >= options_.letters_max) {
    Error error(ErrorCode::bad_data,
                std::to_string(letters_) +
                    " rows are parked, and no more may be (target.max_parked)" +
                    (rejected != nullptr ? "; the next one: " + rejected->describe() : ""),
                "mend what `millrace letters list` shows, then `millrace letters retry --all`");
    return fail(std::move(error).at("table " + display_name(*change.table)));
  }
  Letter letter = codec_.letter(change);
  letter.failed = rejected != nullptr;
  if (rejected != nullptr) {
    letter.error = rejected->describe();
    letter.attempts = 1;
    if (news_.errors.size() < kErrorsKept) news_.errors.push_back(*rejected);
  }
  ++(letter.failed ? news_.failed : news_.behind);
  remember(letter);
  unwritten_bytes_ += letter.change.size() + letter.shape.size();
  unwritten_.push_back(std::move(letter));
  return unwritten_bytes_ < kUnwrittenBytesMax ? Status() : flush();
}

Status Parking::park_row(const Change& row, const Error& rejected) {
  if (letters_ < std::max<uint64_t>(1, options_.letters_max / 2)) return park(row, &rejected);
  return fail(Error(ErrorCode::bad_data,
                    std::to_string(letters_) +
                        " rows are parked, and copies take no more than half of "
                        "target.max_parked; the next one: " +
                        rejected.describe(),
                    "mend what `millrace letters list` shows, then `millrace letters retry --all` "
                    "and `millrace backfill resume`")
                  .at("table " + display_name(*row.table)));
}

// What is remembered too much is forgotten when the next transaction begins.
void Parking::undone() {
  unwritten_.clear();
  unwritten_bytes_ = 0;
  news_ = News{};
  edits_ = -1;
}

Status Parking::truncated(std::span<const Change> statement) {
  std::set<std::string> names;
  for (const Change& change : statement) names.insert(display_name(*change.table));
  for (const std::string& name : names) {
    if (!tables_.contains(name)) continue;
    TRY(flush());
    TRY_ASSIGN(const uint64_t moot, box_.forget(name));
    letters_ -= std::min(moot, letters_);
    tables_.erase(name);
  }
  return {};
}

Status Parking::flush() {
  if (unwritten_.empty()) return {};
  TRY(box_.park(unwritten_));
  unwritten_.clear();
  unwritten_bytes_ = 0;
  return {};
}

}  // namespace millrace::sink
