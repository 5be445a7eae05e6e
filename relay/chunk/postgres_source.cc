#include "relay/chunk/postgres_source.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "relay/source/visibility.h"

namespace millrace::chunk {
namespace {

// Columns of others are NULL to a role without pg_monitor, and so is the lag.
constexpr const char* kReplicaLag = R"(
    SELECT max(extract(epoch FROM replay_lag)) FROM pg_stat_replication
    WHERE state = 'streaming' AND pid NOT IN (
      SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical'
                                                    AND active_pid IS NOT NULL))";

constexpr Millis kSilence{600'000};  // a filter may pass over much before it finds a row

class PostgresSource final : public JobSource {
 public:
  explicit PostgresSource(source::Options options)
      : visibility_(options), reader_(std::move(options)) {}

  Result<Mark> mark() override { return visibility_.mark(); }
  Result<bool> seen(const Mark& mark) override { return visibility_.seen(mark); }
  Result<std::string> waiting_for(const Mark& mark) override {
    return visibility_.waiting_for(mark);
  }
  Result<source::TableToRead> table(const std::string& name) override {
    return reader_.table(name);
  }
  Result<std::optional<uint64_t>> estimate(const source::TableToRead& table,
                                           const source::RowRange& range) override {
    return reader_.estimate(table, range);
  }
  Result<std::optional<sink::KeyText>> largest_key(const source::TableToRead& table,
                                                   const source::RowRange& range) override {
    return reader_.largest_key(table, range);
  }
  Result<source::Piece> read(const source::TableToRead& table, const source::RowRange& range,
                             const source::PieceLimits& limits) override {
    return reader_.read(table, range, limits);
  }
  Result<source::Piece> read_keys(const source::TableToRead& table,
                                  const std::vector<sink::KeyText>& keys,
                                  std::vector<sink::KeyText>& absent) override {
    return reader_.read_keys(table, keys, absent);
  }

  Status check(const source::TableToRead& table, const source::RowRange& range) override {
    return reader_.check(table, range);
  }

  Result<std::optional<double>> replica_lag_s() override {
    TRY_ASSIGN(const source::Rows rows, reader_.query("read the replicas' lag", kReplicaLag));
    if (rows.count() == 0 || rows.is_null(0, 0)) return std::nullopt;
    return std::strtod(rows.string(0, 0).c_str(), nullptr);
  }

  Result<std::string> ask(const std::string& sql) override {
    TRY_ASSIGN(const source::Rows rows, reader_.query("ask backfill.throttle.sql", sql));
    if (rows.count() == 0 || rows.is_null(0, 0)) return std::string();
    const std::string answer = rows.string(0, 0);
    if (answer.empty() || answer == "f") return std::string();
    if (answer == "t") return std::string("backfill.throttle.sql says so");
    char* end = nullptr;
    const double number = std::strtod(answer.c_str(), &end);
    if (end != answer.c_str() && *end == '\0') {
      return number > 0 ? "backfill.throttle.sql says " + answer : std::string();
    }
    return answer;
  }

 private:
  source::Visibility visibility_;
  source::ChunkReader reader_;
};

class PostgresRows final : public sink::RowSource {
 public:
  explicit PostgresRows(source::Options options) : reader_(std::move(options)) {}
  Result<std::optional<Row>> row(const TableSchema& table, Row key) override {
    return reader_.row(table, key);
  }

 private:
  source::ChunkReader reader_;
};

}  // namespace

std::unique_ptr<sink::RowSource> postgres_rows(source::Options options) {
  return std::make_unique<PostgresRows>(std::move(options));
}

std::unique_ptr<JobSource> postgres_source(source::Options options) {
  options.receive_timeout = std::max(options.receive_timeout, kSilence);
  return std::make_unique<PostgresSource>(std::move(options));
}

}  // namespace millrace::chunk
