// What the tests against a real Postgres share: a database for each case, a reader, and small
// helpers.
//
// MILLRACE_TEST_DSN is a superuser's, as tests/support/with_postgres.sh gives it. With
// MILLRACE_CAPTURE_DIR set, save() writes captured streams there, to become golden files.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include "relay/decode/decoder.h"
#include "relay/source/catalog.h"
#include "relay/source/checks.h"
#include "relay/source/connection.h"
#include "relay/source/replication.h"
#include "tests/unit/decode/memory_transactions.h"
#include "tests/unit/decode/message_file.h"
#include "tests/unit/decode/recorder.h"

namespace millrace::testing {

using namespace millrace::source;

inline std::string base_dsn() {
  const char* dsn = std::getenv("MILLRACE_TEST_DSN");
  REQUIRE_MESSAGE(dsn != nullptr, "run this through tests/support/with_postgres.sh");
  return dsn;
}

template <typename T>
T must(Result<T> result) {
  REQUIRE_MESSAGE(result, (result ? "" : result.error().describe()));
  return std::move(*result);
}
inline void must(Status status) {
  REQUIRE_MESSAGE(status, (status ? "" : status.error().describe()));
}

inline bool eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 12'000; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(Millis(25));
  }
  return false;
}

// A database of its own, so that a failed case leaves nothing for the next.
class Source {
 public:
  Source() {
    static int counter = 0;
    name_ = fmt::format("case_{}_{}", ++counter, ::getpid());
    run_in(base_dsn(), "CREATE DATABASE " + name_);
    options.dsn = base_dsn() + " dbname=" + name_;
    options.slot = name_;
    options.publication = "pub";
  }
  ~Source() {
    Options admin;
    admin.dsn = base_dsn();
    auto connection = Connection::open(admin);
    if (!connection) return;
    const std::string ours = " FROM pg_replication_slots WHERE database = '" + name_ + "'";
    Status done;
    const bool gone = eventually([&] {  // a reader that is told to end has not ended at once
      for (const std::string& sql :
           {"SELECT pg_terminate_backend(active_pid)" + ours + " AND active",
            "SELECT pg_drop_replication_slot(slot_name)" + ours,
            "DROP DATABASE " + name_ + " WITH (FORCE)"}) {
        if (auto run = connection->query("clean up", sql); !run) {
          done = fail(run.error());
          return false;
        }
      }
      return true;
    });
    if (!gone) MESSAGE(done.error().describe());
  }

  static void run_in(const std::string& dsn, const std::string& sql) {
    Options options;
    options.dsn = dsn;
    auto connection = must(Connection::open(options));
    auto done = connection.query("set up", sql);
    REQUIRE_MESSAGE(done, (done ? "" : done.error().describe()));
  }
  void run(const std::string& sql) {
    run_in(options.dsn + " options='-c search_path=public'", "DO $do$ BEGIN " + sql + "; END $do$");
  }
  // Statement by statement, each its own transaction.
  void run_each(const std::vector<std::string>& statements) {
    if (!session_) {
      Options own = options;
      session_.emplace(must(Connection::open(own)));
      must_run("SET search_path = public");
    }
    for (const std::string& sql : statements) must_run(sql);
  }
  std::string value(const std::string& sql) {
    auto connection = must(Connection::open(options));
    auto rows = must(connection.query("ask", sql));
    return rows.count() == 0 ? "" : rows.string(0, 0);
  }

  Options options;

 private:
  void must_run(const std::string& sql) {
    auto done = session_->query(sql, sql);
    REQUIRE_MESSAGE(done, (done ? "" : done.error().describe()));
  }
  std::string name_;
  std::optional<Connection> session_;
};

// Reads until `commits` transactions were decoded, or 300 s have passed.
struct Reader {
  explicit Reader(const Source& source)
      : catalog(source.options),
        decoder({1,
                 [this](const std::string& schema, const std::string& table) {
                   return catalog.primary_key(schema, table);
                 },
                 source.options.streaming ? &open : nullptr}) {}

  void read(Replication& replication, size_t commits) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(300);
    while (recorder.commits.size() < commits) {
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      auto frame = must(replication.next(Millis(100)));
      if (!frame) continue;
      if (frame->kind == Frame::Kind::keepalive) continue;
      captured += join_message(frame->payload);
      must(decoder.decode(frame->payload, recorder));
    }
  }
  std::vector<std::string> take() { return std::exchange(recorder.lines, {}); }

  struct Commits : Recorder {
    Status on_begin(const decode::Begin&) override {
      lines.push_back("begin");
      return {};
    }
    Status on_commit(const decode::Commit& commit) override {
      commits.push_back(commit.end_lsn);
      lines.push_back("commit");
      return {};
    }
    std::vector<Lsn> commits;
  };

  Catalog catalog;
  MemoryTransactions open;
  Commits recorder;
  decode::Decoder decoder;
  std::string captured;
};

inline void save(const std::string& name, const std::string& bytes) {
  const char* folder = std::getenv("MILLRACE_CAPTURE_DIR");
  if (folder == nullptr) return;
  std::ofstream(fmt::format("{}/{}.bin", folder, name), std::ios::binary) << bytes;
}

inline std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

inline bool has_finding(const std::vector<Finding>& findings, bool blocker, std::string_view text) {
  return std::any_of(findings.begin(), findings.end(), [&](const Finding& finding) {
    return finding.blocker == blocker && finding.error.describe().find(text) != std::string::npos;
  });
}

inline std::string all(const std::vector<Finding>& findings) {
  std::string out;
  for (const Finding& f : findings) out += (f.blocker ? "! " : "- ") + f.error.describe() + "\n";
  return out;
}

}  // namespace millrace::testing
