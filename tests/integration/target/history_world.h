// HistoryWorld: a World with chunks of history, read from schema `src` as the relay reads them.
#pragma once

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/integration/target/target_world.h"

namespace millrace::test {

// The row as schema `src` has it now.
class SourceRows final : public sink::RowSource {
 public:
  explicit SourceRows(Db& db) : db_(db) {}
  int asked = 0;
  bool away = false;

  Result<std::optional<Row>> row(const TableSchema& table, Row key) override {
    ++asked;
    if (away) return fail(ErrorCode::retryable, "the source is away");
    std::string where;
    for (size_t i = 0; i < table.columns.size(); ++i) {
      if (!table.columns[i].in_key) continue;
      where += (where.empty() ? "" : " AND ") + quote_identifier(table.columns[i].name) + " = '" +
               std::string(key[i].text) + "'";
    }
    const Table found =
        db_.run("SELECT * FROM src." + quote_identifier(table.name) + " WHERE " + where);
    if (found.empty()) return std::optional<Row>();
    texts_ = found.front();
    values_.clear();
    for (const std::string& t : texts_) values_.push_back(t == "\\N" ? null() : text(t));
    return std::optional<Row>(values_);
  }

 private:
  Db& db_;
  std::vector<std::string> texts_;
  std::vector<Value> values_;
};

struct HistoryWorld : World {
  SourceRows source{db()};

  sink::HistoryBox& box() { return *target->history(); }

  // A job that runs, and is watched.
  int64_t run_job(const TableSchemaPtr& shape, Lsn floor, bool replace = false,
                  bool delete_extra = false) {
    REQUIRE(target->lock_applier());
    REQUIRE(target->applied());
    sink::CopyJob job;
    job.table = display_name(*shape);
    job.replace = replace;
    job.delete_extra = delete_extra;
    job.who = "test";
    auto id = box().add_job(job);
    REQUIRE_MESSAGE(id, (id ? "" : id.error().describe()));
    watch();
    job.id = *id;
    job.floor = floor;
    const Status started = box().start_job(job);
    REQUIRE_MESSAGE(started, (started ? "" : started.error().describe()));
    return *id;
  }
  // As the engine: every table with an open job.
  void watch() {
    const auto all = box().jobs();
    REQUIRE(all);
    std::vector<std::string> tables;
    for (const auto& job : **all) {
      if (job.open()) tables.push_back(job.table);
    }
    const Status watched = box().watch(tables, &source);
    REQUIRE_MESSAGE(watched, (watched ? "" : watched.error().describe()));
  }
  sink::CopyJob job(int64_t id) {
    const auto all = box().jobs();
    REQUIRE(all);
    for (const auto& job : **all) {
      if (job.id == id) return job;
    }
    FAIL("no such job");
    return {};
  }
  // What src.<name> holds now, or the part of it that `where` names.
  sink::Chunk read(int64_t id, const TableSchemaPtr& shape, Lsn floor,
                   const std::string& where = "true", bool binary = false) {
    sink::Chunk chunk;
    chunk.binary = binary;
    chunk.job = id;
    chunk.restarts = job(id).restarts;
    chunk.table = shape;
    chunk.floor = floor;
    std::string columns, keys;
    for (const Column& column : shape->columns) {
      const std::string name = quote_identifier(column.name);
      columns += (columns.empty() ? "" : ", ") + name;
      if (column.in_key) keys += (keys.empty() ? "" : ", ") + name;
    }
    const std::string rest =
        " FROM src." + quote_identifier(shape->name) + " WHERE " + where + " ORDER BY " + keys;
    chunk.copy = db().copy("SELECT " + columns + rest, binary ? " (FORMAT binary)" : "");
    if (binary) {
      constexpr size_t kHead = 19, kEnd = 2;
      chunk.copy = chunk.copy.substr(kHead, chunk.copy.size() - kHead - kEnd);
    }
    const Table found = db().run("SELECT " + keys + rest);
    chunk.rows = found.size();
    if (!found.empty()) {
      chunk.first_key = found.front();
      chunk.last_key = found.back();
    }
    return chunk;
  }
  bool write(const sink::Chunk& chunk) {
    const auto written = box().write_chunk(chunk);
    REQUIRE_MESSAGE(written, (written ? "" : written.error().describe()));
    return *written;
  }
  std::string write_error(const sink::Chunk& chunk) {
    const auto written = box().write_chunk(chunk);
    return written
               ? ""
               : std::string(to_string(written.error().code())) + ": " + written.error().describe();
  }
  void must_apply(const History& history) {
    const std::string error = apply_error(history);
    REQUIRE_MESSAGE(error == "", error);
  }
  std::string version(const std::string& table, const std::string& where) {
    const Table found = db().run("SELECT _millrace FROM dst." + table + " WHERE " + where);
    return found.empty() ? "none" : found.front().front();
  }
};

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace millrace::test
