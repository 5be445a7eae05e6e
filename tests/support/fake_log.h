// FakeLog: the log interface in memory, for tests that own time and failure.
//
// One partition a topic. Nothing becomes durable by itself: poll() makes durable what was queued
// before, unless `hold` says that the log is slow. A test may drop or change records to see who
// notices. One thread; every handle must end before the log.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "relay/log/log.h"

namespace millrace::test {

class FakeLog final : public log::Log {
 public:
  struct Record {
    std::string key;
    std::string value;
  };
  std::vector<std::string> control;
  std::map<std::string, std::vector<Record>> topics;
  bool hold = false;            // nothing becomes durable
  bool full = false;            // append says that the budget is used up
  LogOffset control_start = 0;  // retention has removed what stands before
  int rests = 0;                // of cursors
  Millis longest_wait{0};       // that a reader of manifests asked for; nobody waits here

  Status ensure_topics(const std::vector<log::TopicSpec>&, bool) override { return {}; }
  Status remove_topics(const std::vector<log::TopicSpec>&) override { return {}; }
  Result<std::unique_ptr<log::Producer>> producer() override {
    return std::unique_ptr<log::Producer>(std::make_unique<FakeProducer>(*this));
  }
  Result<std::unique_ptr<log::Reader>> reader() override {
    return std::unique_ptr<log::Reader>(std::make_unique<FakeReader>(*this));
  }
  void release_before(LogOffset, const std::vector<OffsetRange>&) override {}
  std::string describe() const override { return "fake log"; }

 private:
  class FakeProducer final : public log::Producer {
   public:
    explicit FakeProducer(FakeLog& log) : log_(log) {}
    Result<bool> append(log::GroupId group, const std::string& topic, std::string_view key,
                        std::string_view value) override {
      if (log_.full) return false;
      auto& records = log_.topics[topic];
      const auto offset = static_cast<LogOffset>(records.size());
      records.push_back({std::string(key), std::string(value)});
      auto [range, fresh] =
          ranges_[group].try_emplace(topic, OffsetRange{topic, 0, offset, offset + 1, 0});
      range->second.end = offset + 1;
      range->second.rows += 1;
      return true;
    }
    Status seal(log::GroupId group) override {
      log::GroupDurable durable{group, {}};
      for (auto& [topic, range] : ranges_[group]) durable.ranges.push_back(range);
      ranges_.erase(group);
      queue_.emplace_back(std::move(durable));
      return {};
    }
    Status append_control(uint64_t ticket, std::string_view value) override {
      queue_.emplace_back(log::ControlDurable{ticket, -1});
      values_.emplace_back(value);
      return {};
    }
    Result<std::vector<log::ProducerEvent>> poll(Millis) override {
      std::vector<log::ProducerEvent> events;
      if (log_.hold) return events;
      for (auto& event : queue_) {
        if (auto* durable = std::get_if<log::ControlDurable>(&event)) {
          durable->offset = static_cast<LogOffset>(log_.control.size());
          log_.control.push_back(std::move(values_.front()));
          values_.pop_front();
        }
        events.push_back(std::move(event));
      }
      queue_.clear();
      return events;
    }
    size_t queued_bytes() const override { return 0; }
    size_t partitions_written(log::GroupId group) const override {
      const auto found = ranges_.find(group);
      return found == ranges_.end() ? 0 : found->second.size();
    }

   private:
    FakeLog& log_;
    std::map<log::GroupId, std::map<std::string, OffsetRange>> ranges_;
    std::deque<log::ProducerEvent> queue_;
    std::deque<std::string> values_;
  };

  class FakeCursor final : public log::RangeCursor {
   public:
    FakeCursor(FakeLog& log, OffsetRange range)
        : log_(log), range_(std::move(range)), next_(range_.start) {}
    Result<std::optional<log::LogRecord>> next() override {
      resting_ = false;
      const auto& records = log_.topics[range_.topic];
      if (next_ >= range_.end || next_ >= static_cast<LogOffset>(records.size())) {
        return std::optional<log::LogRecord>();
      }
      const Record& record = records[static_cast<size_t>(next_)];
      return std::optional<log::LogRecord>(log::LogRecord{next_++, record.key, record.value});
    }
    void rest() override {
      if (!std::exchange(resting_, true)) next_--;
      log_.rests++;
    }
    Status prepare() override { return {}; }

   private:
    FakeLog& log_;
    OffsetRange range_;
    LogOffset next_;
    bool resting_ = false;
  };

  class FakeReader final : public log::Reader {
   public:
    explicit FakeReader(FakeLog& log) : log_(log) {}
    Result<log::Bounds> control_bounds() override {
      return log::Bounds{log_.control_start, static_cast<LogOffset>(log_.control.size())};
    }
    Status seek_control(LogOffset offset) override {
      next_ = offset;
      return {};
    }
    Result<std::optional<log::ControlEntry>> next_control(Millis wait) override {
      log_.longest_wait = std::max(log_.longest_wait, wait);
      if (next_ >= static_cast<LogOffset>(log_.control.size())) {
        return std::optional<log::ControlEntry>();
      }
      const LogOffset at = next_++;
      return std::optional<log::ControlEntry>(
          log::ControlEntry{at, log_.control[static_cast<size_t>(at)]});
    }
    Result<log::ControlEntry> control_at(LogOffset offset) override {
      if (offset < log_.control_start || offset >= static_cast<LogOffset>(log_.control.size())) {
        return fail(ErrorCode::refused, "no control record at this offset");
      }
      return log::ControlEntry{offset, log_.control[static_cast<size_t>(offset)]};
    }
    Result<std::unique_ptr<log::RangeCursor>> open(const OffsetRange& range) override {
      return std::unique_ptr<log::RangeCursor>(std::make_unique<FakeCursor>(log_, range));
    }
    void interrupt() override {}

   private:
    FakeLog& log_;
    LogOffset next_ = 0;
  };
};

}  // namespace millrace::test
