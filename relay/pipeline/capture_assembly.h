// Capture::Assembly: hands whole transactions to the publisher, without those that the log already
// holds. Private to capture*.cc.
//
// Capture's thread.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "relay/base/logging.h"
#include "relay/pipeline/capture.h"

namespace millrace::pipeline {

// Of logical messages in the source's WAL; docs/formats.md.
constexpr std::string_view kOurPrefix = "millrace";

class Capture::Assembly final : public decode::Handler {
 public:
  Assembly(Publisher& publisher, StatusBoard& board, source::CatchUpPace& pace,
           const CaptureOptions& options, uint32_t timeline)
      : publisher_(publisher), board_(board), pace_(pace), options_(options), timeline_(timeline) {}

  Status on_begin(const decode::Begin& begin) override {
    contained_ = publisher_.head().contains(begin.commit_lsn);
    commit_time_ = begin.commit_time;
    pace_.begun(begin.commit_time);
    rows_ = 0;
    asked_here_ = false;
    return {};
  }

  Status on_change(const Change& change, const TableSchemaPtr& table) override {
    if (contained_ || !is_ours(table)) return {};
    ++rows_;
    return publisher_.row(change, table, commit_time_);
  }

  Status on_commit(const decode::Commit& commit) override {
    last_ = {timeline_, commit.end_lsn, commit.commit_lsn, commit.commit_time};
    told_ = false;
    if (contained_) return {};
    if (rows_ > 0) return publisher_.commit(last_);
    if (asked_here_) asked_to_ = last_.end_lsn;
    return {};  // a keepalive moves the watermark past it
  }

  // Tells the board how far has been received: once for many small transactions.
  void tell_board() {
    if (told_) return;
    told_ = true;
    board_.received(last_);
  }

  // One of ours: somebody waits for the target to have everything before it.
  Status on_message(const decode::LogicalMessage& message) override {
    if (message.transactional && message.prefix == kOurPrefix) asked_here_ = true;
    return {};
  }
  // The end of the newest transaction that asked so and held nothing of ours; all before it has
  // been received. 0/0: none.
  Lsn asked_to() const { return asked_to_; }

 private:
  bool is_ours(const TableSchemaPtr& table) {
    if (table == last_table_) return last_is_ours_;
    last_table_ = table;
    last_is_ours_ = options_.is_ours(*table);
    if (!last_is_ours_ && foreign_.insert(display_name(*table)).second) {
      logging::warn(
          "the publication holds a table that the config does not name; its changes are left out",
          {{"table", display_name(*table)}});
    }
    return last_is_ours_;
  }

  Publisher& publisher_;
  StatusBoard& board_;
  source::CatchUpPace& pace_;
  const CaptureOptions& options_;
  uint32_t timeline_;
  bool contained_ = false;
  Watermark last_;  // of the last commit
  bool told_ = true;
  TimeMicros commit_time_;
  uint64_t rows_ = 0;
  bool asked_here_ = false;  // in the transaction that is received
  Lsn asked_to_;
  TableSchemaPtr last_table_;
  bool last_is_ours_ = false;
  std::set<std::string> foreign_;
};

}  // namespace millrace::pipeline
