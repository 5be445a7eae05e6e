// A source of numbered rows, and a box that keeps jobs and copied rows in memory.
#pragma once

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "relay/chunk/backfill.h"
#include "relay/sink/target.h"

namespace millrace::test {

inline TableSchemaPtr numbered_table(const std::string& name, bool keyed = true) {
  TableSchema schema;
  schema.schema = "public";
  schema.name = name;
  Column id;
  id.name = "id";
  id.type_oid = 23;
  id.in_key = keyed;
  schema.columns.push_back(id);
  return seal_schema(std::move(schema));
}

// Tables of ids 1 to n. Shared by the threads of all readers.
struct FakeWorld {
  std::mutex mutex;
  std::map<std::string, int> rows;  // "public.a": largest id
  bool visible = true;              // what a mark waits for
  std::optional<Error> fails;       // read() answers with it, once
  std::atomic<int> marks = 0;
  std::atomic<int> reads = 0;
  std::vector<int> read_from;  // where each read began
  std::string sql_answer;
  std::optional<double> replica_lag_s;  // of the slowest replica; nullopt: there is none
  uint64_t end_of_wal = 100;
};

class FakeSource final : public chunk::JobSource {
 public:
  explicit FakeSource(FakeWorld& world) : world_(world) {}

  Result<chunk::Mark> mark() override {
    const std::lock_guard lock(world_.mutex);
    ++world_.marks;
    return chunk::Mark{Lsn{world_.end_of_wal++}, 7};
  }
  Result<bool> seen(const chunk::Mark&) override {
    const std::lock_guard lock(world_.mutex);
    return world_.visible;
  }
  Result<std::string> waiting_for(const chunk::Mark&) override {
    return std::string("transaction 6");
  }
  Result<source::TableToRead> table(const std::string& name) override {
    const std::lock_guard lock(world_.mutex);
    if (!world_.rows.contains(name)) {
      return fail(ErrorCode::bad_data, "the source has no table " + name);
    }
    source::TableToRead out;
    out.schema = numbered_table(name.substr(name.find('.') + 1));
    out.key.push_back({"id", "integer", 0, 0});
    return out;
  }
  Result<std::optional<uint64_t>> estimate(const source::TableToRead& table,
                                           const source::RowRange&) override {
    return static_cast<uint64_t>(last_of(table));
  }
  Result<std::optional<sink::KeyText>> largest_key(const source::TableToRead& table,
                                                   const source::RowRange&) override {
    const int last = last_of(table);
    if (last == 0) return std::nullopt;
    return sink::KeyText{std::to_string(last)};
  }
  Result<source::Piece> read(const source::TableToRead& table, const source::RowRange& range,
                             const source::PieceLimits& limits) override {
    const int until = std::min(last_of(table), std::stoi(range.until.value()[0]));
    const std::lock_guard lock(world_.mutex);
    if (world_.fails) return fail(*std::exchange(world_.fails, std::nullopt));
    const int after = range.after ? std::stoi((*range.after)[0]) : 0;
    ++world_.reads;
    world_.read_from.push_back(after);
    source::Piece piece;
    for (int id = after + 1; id <= until && piece.rows < limits.rows; ++id) {
      const std::string text = std::to_string(id);
      if (!piece.first_key) piece.first_key = sink::KeyText{text};
      piece.last_key = sink::KeyText{text};
      piece.copy += text + "\n";
      piece.binary = limits.binary;
      ++piece.rows;
    }
    piece.end = piece.rows < limits.rows;
    return piece;
  }
  Result<source::Piece> read_keys(const source::TableToRead&, const std::vector<sink::KeyText>&,
                                  std::vector<sink::KeyText>&) override {
    return source::Piece{};
  }
  Status check(const source::TableToRead&, const source::RowRange&) override { return {}; }
  Result<std::optional<double>> replica_lag_s() override {
    const std::lock_guard lock(world_.mutex);
    if (world_.fails) return fail(*std::exchange(world_.fails, std::nullopt));
    return world_.replica_lag_s;
  }
  Result<std::string> ask(const std::string&) override {
    const std::lock_guard lock(world_.mutex);
    return world_.sql_answer;
  }

 private:
  int last_of(const source::TableToRead& table) {
    const std::lock_guard lock(world_.mutex);
    return world_.rows.at(display_name(*table.schema));
  }
  FakeWorld& world_;
};

class NoRows final : public sink::RowSource {
 public:
  Result<std::optional<Row>> row(const TableSchema&, Row) override { return std::nullopt; }
};

class FakeBox final : public sink::HistoryBox {
 public:
  std::vector<sink::CopyJob> kept;
  std::multiset<std::string> copied;  // "public.a 17"
  std::set<std::string> filled;       // tables with rows in the target
  std::set<std::string> watched;
  std::map<std::string, sink::Kin> kins;  // by the source table
  std::vector<std::string> started;       // tables, in order
  std::optional<Error> write_fails;       // once
  bool lose_reply = false;                // the next chunk is written, its answer is lost
  bool binary = false;                    // what takes_binary() says
  uint64_t binary_rows = 0;               // that were written

  Result<std::optional<std::vector<sink::CopyJob>>> jobs() override { return kept; }
  Result<int64_t> add_job(const sink::CopyJob& job) override {
    kept.push_back(job);
    kept.back().id = static_cast<int64_t>(kept.size());
    return kept.back().id;
  }
  Status set_state(int64_t id, std::span<const sink::JobState> from, sink::JobState to,
                   const std::string& why) override {
    sink::CopyJob& job = kept.at(static_cast<size_t>(id - 1));
    if (std::find(from.begin(), from.end(), job.state) == from.end()) {
      return fail(ErrorCode::negative, "not so");
    }
    job.state = to;
    job.why = why;
    return {};
  }
  Status journal(const std::string&, const std::string&) override { return {}; }
  Result<bool> has_rows(const TableSchema& table) override {
    return filled.contains(display_name(table));
  }
  Result<sink::Kin> kin(const TableSchema& table) override { return kins[display_name(table)]; }
  Status watch(std::span<const std::string> tables, sink::RowSource*) override {
    watched = {tables.begin(), tables.end()};
    return {};
  }
  Status start_job(const sink::CopyJob& job) override {
    sink::CopyJob& own = kept.at(static_cast<size_t>(job.id - 1));
    if (own.state != sink::JobState::waiting) return fail(ErrorCode::negative, "waits no more");
    if (!watched.contains(own.table)) return fail(ErrorCode::fatal, "no tombstones");
    own = job;
    own.state = sink::JobState::running;
    started.push_back(own.table);
    return {};
  }
  Result<bool> write_chunk(const sink::Chunk& chunk) override {
    if (write_fails) return fail(*std::exchange(write_fails, std::nullopt));
    sink::CopyJob& job = kept.at(static_cast<size_t>(chunk.job - 1));
    if (job.state != sink::JobState::running || job.restarts != chunk.restarts) return false;
    std::string_view text = chunk.copy;
    while (!text.empty()) {
      copied.insert(job.table + " " + std::string(text.substr(0, text.find('\n'))));
      text.remove_prefix(text.find('\n') + 1);
    }
    if (chunk.binary) binary_rows += chunk.rows;
    job.rows_done += chunk.rows;
    if (chunk.last_key) job.done_to = chunk.last_key;
    if (chunk.last) {
      job.state = sink::JobState::done;
      job.consistent_at = chunk.seen_until;
    }
    if (std::exchange(lose_reply, false)) return fail(ErrorCode::retryable, "no reply");
    return true;
  }
  bool takes_binary() const override { return binary; }
};

// FakeTarget with a box.
class HistoryTarget final : public sink::Target {
 public:
  FakeBox box;

  Status lock_applier() override { return {}; }
  Result<std::optional<sink::Applied>> applied() override { return std::nullopt; }
  Status setup(std::span<const TableSchemaPtr>, std::string*) override { return {}; }
  Status set_origin(const sink::Applied&) override { return {}; }
  Result<std::vector<Error>> check(std::span<const TableSchemaPtr>) override {
    return std::vector<Error>();
  }
  Status teardown(std::string*) override { return {}; }
  Status begin(const sink::Applied&, const sink::Applied&) override { return {}; }
  Status write(const sink::BatchPlan&, bool) override { return {}; }
  Status commit() override { return {}; }
  void rollback() override {}
  void interrupt() override {}
  sink::HistoryBox* history() override { return &box; }
};

}  // namespace millrace::test
