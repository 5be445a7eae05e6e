// PostgresTarget: the sink::Target over one connection. See target.h.
//
//   closed ──applied()──► idle ──begin()──► open ──write()*──► open ──commit()──► idle
//                          ▲                  └──── any error but conflict, rollback() ───┘
// A lost connection leads back to `closed` from anywhere; only lock_applier(), applied(), setup(),
// set_origin(), check() and teardown() connect again, so that a caller always re-reads what was
// applied after a loss.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>

#include "connectors/postgres/applier_lock.h"
#include "connectors/postgres/connection.h"
#include "connectors/postgres/plan_writer.h"
#include "connectors/postgres/setup.h"
#include "connectors/postgres/target.h"

namespace millrace::postgres {

class PostgresTarget : public sink::Target, public sink::LetterBox, public sink::HistoryBox {
 public:
  explicit PostgresTarget(Options options) : options_(std::move(options)) {
    watch_.pipeline = options_.pipeline;
  }

  Status lock_applier() override;
  Result<std::optional<sink::Applied>> applied() override;
  Status setup(std::span<const TableSchemaPtr> source_tables, std::string* print) override;
  Status set_origin(const sink::Applied& origin) override;
  Result<std::vector<Error>> check(std::span<const TableSchemaPtr> source_tables) override;
  Status teardown(std::string* print) override;
  Status adapt(std::span<const TableSchemaPtr> shapes) override;
  Status begin(const sink::Applied& expected, const sink::Applied& next) override;
  Status write(const sink::BatchPlan& plan, bool in_order) override;
  Status commit() override;
  void rollback() override;
  void interrupt() override;
  sink::LetterBox* letters() override { return this; }
  sink::HistoryBox* history() override { return this; }

  // The letter box: target_letters.cc.
  Result<std::optional<std::vector<sink::LetterKey>>> parked_keys() override;
  int64_t edits() const override { return edits_; }
  Status park(std::span<const sink::Letter> letters) override;
  Result<uint64_t> forget(const std::string& table) override;
  Result<std::vector<sink::Letter>> list() override;
  Result<std::vector<sink::Letter>> chain(const sink::LetterKey& of) override;
  Result<std::vector<sink::Letter>> read(std::span<const int64_t> ids) override;
  Status begin_edit(uint32_t epoch) override;
  Status remove(std::span<const int64_t> ids) override;
  // Of both boxes.
  Status journal(const std::string& who, const std::string& what) override;
  Status failed_again(int64_t id, const std::string& error) override;

  // The box of history: target_history.cc.
  Result<std::optional<std::vector<sink::CopyJob>>> jobs() override;
  Result<int64_t> add_job(const sink::CopyJob& job) override;
  Status set_state(int64_t id, std::span<const sink::JobState> from, sink::JobState to,
                   const std::string& why) override;
  Result<bool> has_rows(const TableSchema& table) override;
  Result<sink::Kin> kin(const TableSchema& table) override;
  Status watch(std::span<const std::string> tables, sink::RowSource* rows) override;
  Status start_job(const sink::CopyJob& job) override;
  Result<bool> write_chunk(const sink::Chunk& chunk) override;
  bool takes_binary() const override { return takes_binary_; }

 private:
  Status connect();
  Session session() const;
  Result<std::optional<sink::Applied>> read_applied();
  // The condition of the compare-and-set.
  std::string stands_at(const sink::Applied& expected) const;
  Status moved_error(const sink::Applied& expected);
  Status run_locked(std::string* print, bool setting_up,
                    std::span<const TableSchemaPtr> source_tables);
  Status run_steps(std::span<const SetupStep> steps, std::string_view doing);
  Result<bool> add_columns(const TableSchema& shape);
  Status prepare_savepoint();
  Status go_back();
  // One statement about letters; in a transaction, after what was written before it.
  Result<Reply> run_letters(const std::string& sql, Params params, std::string_view doing);
  // The session is the applier's own.
  Status check_session() const;
  // Reads the floors of replacing jobs into watch_; with `all` every open job's table besides.
  Status load_watch(bool all);
  // COMMIT behind `before`, statements with their semicolons, in one exchange.
  Status commit(const std::string& before);
  // Rolls back and passes the error on.
  Status give_up(Error error);
  tl::unexpected<Error> give_up_chunk(Error error);

  const Options options_;
  std::mutex connection_mutex_;  // guards the pointer against interrupt(), not the session
  std::shared_ptr<Connection> connection_;
  Watch watch_;
  std::unique_ptr<KnownTables> known_;
  std::unique_ptr<PlanWriter> writer_;
  Session locked_;  // the last session that had the applier lock; pid 0: none had
  // Where the applied position was last seen, or put; and where the open transaction puts it.
  std::optional<sink::Applied> stands_, next_;
  std::unordered_set<uint64_t> adapted_;  // fingerprints of shapes that adapt() has looked at
  bool open_ = false;
  bool savepoint_fresh_ = false;  // begin() has just set it
  bool constraints_now_ = false;  // a deferred one failed: the next attempt checks at once
  bool letters_ready_ = false;    // the letter box is there
  bool takes_binary_ = false;     // the last chunk's table
  int64_t edits_ = 0;
};

}  // namespace millrace::postgres
