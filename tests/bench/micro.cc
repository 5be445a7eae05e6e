// What single steps cost, in ns a row: a fixed amount of work each, the best of some rounds.
//
//   bench_micro               prints a line a step
//   bench_micro --fixed FILE  decodes and encodes the captured messages of FILE (a file of
//                             tests/golden/pgoutput) kFixedRounds times, in millrace_fixed_job():
//                             what instructions_test.py counts; prints {"rows": N}
//
// The figures move with the machine and gate nothing; the count of instructions does.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "connectors/postgres/array_literal.h"
#include "relay/decode/decoder.h"
#include "relay/log/embedded/embedded_log.h"
#include "relay/sink/planner.h"
#include "relay/wire/record_key.h"
#include "relay/wire/row_codec.h"
#include "tests/unit/decode/message_file.h"
#include "tests/unit/decode/pgoutput_builder.h"

namespace millrace {
namespace {

namespace pg = millrace::testing;

constexpr int kRounds = 5;
constexpr int kFixedRounds = 100;
constexpr uint32_t kTable = 4711;
constexpr size_t kTransactions = 1000;
constexpr size_t kRowsOfTransaction = 100;
constexpr size_t kRows = kTransactions * kRowsOfTransaction;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bench_micro: %s\n", why.c_str());
  std::exit(1);
}

void need(const Status& status) {
  if (!status) give_up(status.error().describe());
}

template <typename T>
T need(Result<T> result) {
  if (!result) give_up(result.error().describe());
  return std::move(*result);
}

// What the bench's own table gives: 5 columns, 60 to 70 bytes of values.
pg::Cells cells(size_t i) {
  return {std::to_string(i), std::to_string(i % 1000), "some text of a row " + std::to_string(i),
          std::to_string(i) + ".5", "2026-11-20 10:00:00.123456+00"};
}

std::vector<std::string> transactions() {
  std::vector<std::string> out{
      pg::relation(kTable, "public", "rows_", 'd',
                   {{"id", 20, true}, {"a", 23}, {"b", 25}, {"c", 1700}, {"at", 1184}})};
  for (size_t t = 0; t < kTransactions; ++t) {
    const uint64_t lsn = 0x1000000 + t * 0x10000;
    out.push_back(pg::begin(lsn));
    for (size_t r = 0; r < kRowsOfTransaction; ++r) {
      const size_t i = t * kRowsOfTransaction + r;
      // Half of them update one of 10,000 rows.
      out.push_back(r % 2 == 0 ? pg::insert(kTable, cells(i))
                               : pg::update(kTable, cells(i % 10'000)));
    }
    out.push_back(pg::commit(lsn, lsn + 0x30));
  }
  return out;
}

class Handler : public decode::Handler {
 public:
  Status on_begin(const decode::Begin&) override { return {}; }
  Status on_change(const Change&, const TableSchemaPtr&) override {
    ++rows;
    return {};
  }
  Status on_commit(const decode::Commit&) override { return {}; }
  Status on_message(const decode::LogicalMessage&) override { return {}; }
  uint64_t rows = 0;
};

class Collecting final : public Handler {
 public:
  Status on_change(const Change& change, const TableSchemaPtr& table) override {
    batch.add(change, table);
    return {};
  }
  ChangeBatch batch;
};

class Encoding final : public Handler {
 public:
  Status on_change(const Change& change, const TableSchemaPtr&) override {
    ++rows;
    wire::record_key(change, false, key_);
    wire::encode_row({Token{7}, 1, TimeMicros{1'763'719'200'123'456}, 0}, change, value_);
    bytes += key_.size() + value_.size();
    return {};
  }
  uint64_t bytes = 0;

 private:
  std::string key_;
  std::string value_;
};

void decode_all(const std::vector<std::string>& messages, Handler& handler) {
  decode::Decoder::Options options;
  // Of the captured tables that have REPLICA IDENTITY FULL.
  options.primary_key = [](const std::string&, const std::string& table) {
    using Key = std::vector<std::string>;
    return Result<Key>(table == "full_keyed" ? Key{"id"} : Key{});
  };
  decode::Decoder decoder(std::move(options));
  for (const std::string& message : messages) need(decoder.decode(message, handler));
}

void measure(const char* step, const std::function<void()>& work) {
  double best_ns = 1e18;
  for (int i = 0; i < kRounds; ++i) {
    const auto began = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
    best_ns = std::min(best_ns, took.count() / static_cast<double>(kRows));
  }
  fmt::print("{:<28}{:>8.0f} ns/row\n", step, best_ns);
}

void build_arrays(std::span<const Change> changes) {
  std::vector<postgres::ArrayLiteral> arrays(5);
  size_t bytes = 0;
  for (size_t i = 0; i < changes.size(); ++i) {
    for (size_t column = 0; column < arrays.size(); ++column) {
      arrays[column].add(changes[i].after[column].text);
    }
    if (i % 10'000 != 9'999) continue;
    for (auto& array : arrays) {
      array.finish();
      bytes += array.bytes();
      array.clear();
    }
  }
  if (bytes == 0) give_up("the arrays are empty");
}

// Groups of 10,000 rows, with a control record after each, as a publisher writes them.
void append_groups(log::Producer& producer, log::GroupId& group, std::string_view value) {
  const log::GroupId last = group + kRows / 10'000;
  log::GroupId durable = group;
  const auto poll = [&](Millis wait) {
    for (const auto& event : need(producer.poll(wait))) {
      if (std::holds_alternative<log::ControlDurable>(event)) ++durable;
    }
  };
  for (size_t i = 1; i <= kRows; ++i) {
    const std::string key = std::to_string(i);
    while (!need(producer.append(group, "t", key, value))) poll(Millis(20));
    if (i % 10'000 != 0) continue;
    need(producer.seal(group));
    need(producer.append_control(group++, "manifest"));
  }
  while (durable < last) poll(Millis(20));
}

void measure_embedded() {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("micro{}", getpid());
  log::EmbeddedOptions options;
  options.path = folder;
  options.manifest_topic = "m";
  {
    const auto log = need(log::open_embedded(options));
    need(log->ensure_topics({{"t", 1}}, true));
    const auto producer = need(log->producer());
    log::GroupId group = 1;
    measure("embedded log, synced",
            [&] { append_groups(*producer, group, std::string(150, 'v')); });
  }
  std::filesystem::remove_all(folder);
}

void all_steps() {
  const std::vector<std::string> messages = transactions();
  measure("decode", [&] {
    Handler counting;
    decode_all(messages, counting);
  });
  measure("decode, encode", [&] {
    Encoding encoding;
    decode_all(messages, encoding);
  });
  Collecting collected;
  decode_all(messages, collected);
  measure("collapse, 10,000 at a time", [&] {
    sink::Planner planner;
    const auto changes = collected.batch.changes();
    for (size_t from = 0; from < changes.size(); from += 10'000) {
      if (need(planner.plan(changes.subspan(from, 10'000))).empty()) give_up("an empty plan");
    }
  });
  measure("array literals, 5 columns", [&] { build_arrays(collected.batch.changes()); });
  measure_embedded();
}

}  // namespace
}  // namespace millrace

// Named for callgrind's --toggle-collect, so that only this is counted.
extern "C" [[gnu::noinline]] uint64_t millrace_fixed_job(const std::vector<std::string>& messages) {
  millrace::Encoding encoding;
  for (int i = 0; i < millrace::kFixedRounds; ++i) millrace::decode_all(messages, encoding);
  return encoding.rows;
}

int main(int argc, char** argv) {
  if (argc == 1) {
    millrace::all_steps();
    return 0;
  }
  if (argc != 3 || std::string_view(argv[1]) != "--fixed") {
    millrace::give_up("usage: bench_micro [--fixed FILE]");
  }
  const auto messages = millrace::testing::split_messages(millrace::testing::read_all(argv[2]));
  if (messages.empty()) millrace::give_up(std::string("no messages in ") + argv[2]);
  fmt::print("{{\"rows\": {}}}\n", millrace_fixed_job(messages));
}
