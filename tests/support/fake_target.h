// FakeTarget: a target in memory that keeps every value of every key, and can lose the reply of a
// commit.
//
// Rows are append-only counters here: `rows` maps "schema.table" and the row's text to how often it
// was written in committed transactions. One thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "relay/sink/target.h"

namespace millrace::test {

class FakeTarget final : public sink::Target {
 public:
  std::optional<sink::Applied> committed;
  std::map<std::string, int> rows;
  int commits = 0;
  bool lose_next_reply = false;   // the next commit happens, its reply does not arrive
  bool fail_next_commit = false;  // the next commit does not happen
  std::optional<Error> reject;    // write() answers with this
  std::string reject_row;         // … only for this row, unless empty
  std::function<void()> before_begin;
  std::function<void(int)> before_lock;  // is told how often it was called before
  bool locked_by_other = false;

  Status lock_applier() override {
    if (before_lock) before_lock(locks_++);
    if (locked_by_other) return fail(ErrorCode::refused, "another instance applies");
    return {};
  }
  Result<std::optional<sink::Applied>> applied() override { return committed; }
  Status setup(std::span<const TableSchemaPtr>, std::string*) override { return {}; }
  Status set_origin(const sink::Applied& origin) override {
    if (!committed) committed = origin;
    return {};
  }
  Result<std::vector<Error>> check(std::span<const TableSchemaPtr>) override {
    return std::vector<Error>();
  }
  Status teardown(std::string*) override { return {}; }

  Status begin(const sink::Applied& expected, const sink::Applied& next) override {
    if (before_begin) before_begin();
    if (!committed || committed->watermark != expected.watermark) {
      return fail(ErrorCode::refused, "another instance has applied");
    }
    next_ = next;
    written_.clear();
    return {};
  }
  Status write(const sink::BatchPlan& plan, bool) override {
    if (reject && reject_row.empty()) return fail(*reject);
    for (const sink::TablePlan& table : plan.tables) {
      for (const sink::PlannedRow& row : table.rows) {
        std::string text = table.table->name;
        for (const Value& value : row.row) text += "|" + std::string(value.text);
        if (reject && text == reject_row) return fail(*reject);
        written_[text] += 1;
      }
    }
    return {};
  }
  Status commit() override {
    if (fail_next_commit) {
      fail_next_commit = false;
      return fail(ErrorCode::retryable, "connection lost");
    }
    committed = next_;
    for (const auto& [text, count] : written_) rows[text] += count;
    written_.clear();
    ++commits;
    if (!lose_next_reply) return {};
    lose_next_reply = false;
    return fail(ErrorCode::retryable, "connection lost");
  }
  void rollback() override { written_.clear(); }
  void interrupt() override {}

 private:
  int locks_ = 0;
  sink::Applied next_;
  std::map<std::string, int> written_;
};

}  // namespace millrace::test
