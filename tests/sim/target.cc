#include "tests/sim/target.h"

#include <algorithm>
#include <utility>

#include "relay/base/mutation.h"

namespace millrace::sim {
namespace {

using Kind = sink::PlannedRow::Kind;

std::string text_of(const Value& value) {
  return value.kind == ValueKind::null ? kNull : std::string(value.text);
}

Values key_of(const TableSchema& table, Row row) {
  Values key;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (table.columns[i].in_key) key.push_back(text_of(row[i]));
  }
  return key;
}

// `unchanged` values are the old row's.
Values merged(Row row, const Values* old) {
  Values out;
  for (size_t i = 0; i < row.size(); ++i) {
    const bool keep = row[i].kind == ValueKind::unchanged;
    out.push_back(keep ? (old ? (*old)[i] : "unchanged?") : text_of(row[i]));
  }
  return out;
}

bool is_full(Row row) {
  return std::none_of(row.begin(), row.end(),
                      [](const Value& value) { return value.kind == ValueKind::unchanged; });
}

tl::unexpected<Error> bad(const TableSchema& table, const char* what) {
  return fail(ErrorCode::bad_data, "table " + table.name + ": " + what);
}

}  // namespace

void Database::commit(Session& session) {
  if (session.next.watermark.end_lsn < reached()) {
    world_.violation("I4", "the applied position fell from " + to_string(reached()));
  }
  applied_ = session.next;
  Tables before = std::move(tables_);
  tables_ = std::move(session.tables);
  locked_by_.reset();
  ++commits_;
  check(before);
}

void Database::check(const Tables& before) {
  const Lsn end = applied_->watermark.end_lsn;
  const size_t transactions = source_.contained(end);
  world_.trace("target: commit: {}, {} transactions", to_string(end), transactions);
  const State& expected = source_.after(transactions);
  if (tables_.state != expected) {
    world_.violation("I2", fmt::format("after {} source transactions: {}", transactions,
                                       difference(expected, tables_.state)));
  }
  for (const auto& [key, version] : before.versions) {
    const auto now = tables_.versions.find(key);
    if (now == tables_.versions.end() || now->second >= version) continue;
    world_.violation("I4", "the version of a row of " + key.first + " fell");
  }
  if (end > published() && end > source_.origin()) {
    world_.violation("I5", fmt::format("applied {}, the log reaches {}", to_string(end),
                                       to_string(published())));
  }
}

void Database::end_orphans() {
  if (locked_by_ && locked_by_->client_gone) {
    const std::shared_ptr<Session> session = locked_by_;
    if (session->commit_sent) {
      world_.trace("target: a COMMIT that nobody waits for any more takes effect");
      commit(*session);
    }
    locked_by_.reset();
  }
  if (applier_ && applier_->gone) applier_.reset();
}

// One client's connection.
class SimTarget final : public sink::Target {
 public:
  explicit SimTarget(Database& database) : db_(database), world_(database.world_) {}
  ~SimTarget() override { leave(); }

  Status lock_applier() override {
    TRY(call());
    rollback();
    if (mutated("no_fence")) return {};
    if (db_.applier_ && db_.applier_ != client_) {
      const bool own = db_.applier_ == locked_;
      if (db_.applier_->gone && (own || world_.now() - db_.applier_->gone_at > kNoticedAfter)) {
        db_.end_orphans();
      }
      return fail(ErrorCode::refused, "another instance applies");
    }
    db_.applier_ = locked_ = client_;
    return {};
  }

  Result<std::optional<sink::Applied>> applied() override {
    TRY(call());
    rollback();
    return db_.applied_;
  }

  Status setup(std::span<const TableSchemaPtr>, std::string*) override { return {}; }
  Result<std::vector<Error>> check(std::span<const TableSchemaPtr>) override {
    return std::vector<Error>();
  }
  Status teardown(std::string*) override { return {}; }

  Status set_origin(const sink::Applied& origin) override {
    TRY(call());
    TRY(await_lock());
    if (db_.applied_ == origin) return {};
    if (db_.applied_) {
      return fail(ErrorCode::refused, "the target has an applied position already");
    }
    if (world_.fault("reply of the origin lost", db_.profile_.commit_lost)) {
      open(origin);
      session_->commit_sent = true;
      leave();
      return lost("connection lost");
    }
    db_.applied_ = origin;
    world_.trace("target: origin {}", to_string(origin.watermark));
    return reply();
  }

  Status begin(const sink::Applied& expected, const sink::Applied& next) override {
    TRY(call());
    rollback();
    TRY(await_lock());
    if (db_.applier_ != client_ && !mutated("no_fence")) return lost("the applier lock is lost");
    const auto& there = db_.applied_;
    if (!there || there->watermark.end_lsn != expected.watermark.end_lsn ||
        there->token != expected.token || there->manifest_offset != expected.manifest_offset) {
      if (!mutated("no_fence")) return fail(ErrorCode::refused, "another instance applied");
    }
    open(next);
    if (mutated("no_atomic")) db_.applied_ = next;
    return {};
  }

  Status write(const sink::BatchPlan& plan, bool in_order) override {
    world_.step();
    if (!session_) return lost("no transaction is open in the target");
    if (world_.fault("target call fails", db_.profile_.call_fails)) {
      rollback();
      return lost("deadlock");
    }
    if (!in_order && world_.fault("constraint conflict", db_.profile_.conflict)) return conflict();
    const Database::Tables before = session_->tables;
    auto written = write_plan(plan);
    if (written) return written;
    session_->tables = before;
    if (written.error().code() == ErrorCode::conflict && !in_order) return written;
    rollback();
    return bad(*plan.tables.front().table, "a constraint does not hold in source order");
  }

  Status commit() override {
    TRY(call());
    if (!session_) return lost("no transaction is open in the target");
    session_->commit_sent = true;
    world_.step();  // a process that dies here does not know
    if (world_.fault("reply of COMMIT lost", db_.profile_.commit_lost)) {
      leave();  // … whether and when it took effect
      return lost("connection lost (whether it was committed is not known)");
    }
    db_.commit(*session_);
    session_.reset();
    return reply();
  }

  void rollback() override {
    if (!session_) return;
    if (db_.locked_by_ == session_) db_.locked_by_.reset();
    session_.reset();
  }

  void interrupt() override { interrupted_ = true; }

 private:
  static constexpr Millis kLockTimeout{30'000};
  static constexpr Millis kNoticedAfter{10'000};  // less than a successor waits

  static tl::unexpected<Error> conflict() { return fail(ErrorCode::conflict, "duplicate key"); }

  Status call() {
    world_.step();
    if (interrupted_) return fail(ErrorCode::cancelled, "interrupted");
    if (!world_.fault("target call fails", db_.profile_.call_fails)) return {};
    leave();
    return lost("the target closed the connection");
  }

  Status await_lock() {
    if (!db_.locked_by_) return {};
    world_.trace("target: waits for another transaction");
    world_.wait(kLockTimeout, [this] { return interrupted_ || !db_.locked_by_; });
    if (interrupted_) return fail(ErrorCode::cancelled, "interrupted");
    if (db_.locked_by_) return lost("lock timeout");
    return {};
  }

  void open(const sink::Applied& next) {
    session_ = std::make_shared<Database::Session>();
    session_->tables = db_.tables_;
    session_->next = next;
    db_.locked_by_ = session_;
  }

  // It was done; the reply may be lost.
  Status reply() {
    world_.step();
    if (!world_.fault("reply lost", db_.profile_.commit_lost / 2)) return {};
    leave();
    return lost("connection lost (whether it was committed is not known)");
  }

  // The connection is gone, the server does not know yet.
  void leave() {
    if (session_) session_->client_gone = true;
    session_.reset();
    client_->gone = true;
    client_->gone_at = world_.now();
    client_ = std::make_shared<Database::Client>();
  }

  Status write_plan(const sink::BatchPlan& plan) {
    for (const TableSchema* table : plan.truncate) truncate(*table);
    for (const Kind phase : {Kind::move, Kind::remove, Kind::upsert}) {
      for (const sink::TablePlan& table : plan.tables) {
        for (const sink::PlannedRow& row : table.rows) {
          const bool first = row.kind == Kind::move || row.kind == Kind::remove;
          if (first ? row.kind != phase : phase != Kind::upsert) continue;
          TRY(write_row(*table.table, row));
        }
      }
    }
    return {};
  }

  void truncate(const TableSchema& table) {
    auto& tables = session_->tables;
    if (const auto heap = tables.state.heaps.find(table.name); heap != tables.state.heaps.end()) {
      heap->second.rows.clear();
      return;
    }
    tables.state.keyed[table.name].rows.clear();
    std::erase_if(tables.versions,
                  [&](const auto& entry) { return entry.first.first == table.name; });
  }

  Status write_row(const TableSchema& table, const sink::PlannedRow& row) {
    return table.has_key() ? write_keyed(table, row) : write_heap(table, row);
  }

  bool older(const std::string& table, const Values& key, const Version& version) const {
    if (mutated("no_guard")) return true;
    const auto found = session_->tables.versions.find({table, key});
    return found == session_->tables.versions.end() || found->second < version;
  }

  Status write_keyed(const TableSchema& table, const sink::PlannedRow& row) {
    auto& rows = session_->tables.state.keyed[table.name].rows;
    auto& versions = session_->tables.versions;
    const Version version =
        make_version(session_->next.epoch, row.position.commit_lsn, row.position.ordinal);
    const Values key = key_of(table, row.row);
    auto there = rows.find(key);
    if (row.kind == Kind::remove) {
      if (there == rows.end() || !older(table.name, key, version)) return {};
      rows.erase(there);
      versions.erase({table.name, key});
      return {};
    }
    if (row.kind == Kind::move) {
      const Values old_key = key_of(table, row.before);
      const auto old = rows.find(old_key);
      if (old == rows.end()) {
        if (there == rows.end() && !is_full(row.row)) return bad(table, "no row to move");
      } else if (older(table.name, old_key, version)) {
        if (there != rows.end()) return conflict();
        Values moved = merged(row.row, &old->second);
        rows.erase(old);
        versions.erase({table.name, old_key});
        rows[key] = std::move(moved);
        versions[{table.name, key}] = version;
      }
      if (!is_full(row.row)) return {};
      there = rows.find(key);
    }
    if (there == rows.end() && row.kind == Kind::partial) return bad(table, "no row to update");
    if (there != rows.end() && !older(table.name, key, version)) return {};
    Values fresh = merged(row.row, there == rows.end() ? nullptr : &there->second);
    rows[key] = std::move(fresh);
    versions[{table.name, key}] = version;
    return {};
  }

  Status write_heap(const TableSchema& table, const sink::PlannedRow& row) {
    auto& rows = session_->tables.state.heaps[table.name].rows;
    if (row.kind != Kind::append) {
      const auto old =
          rows.find(merged(row.kind == Kind::replace_whole ? row.before : row.row, nullptr));
      if (old == rows.end()) return bad(table, "no such whole row");
      if (--old->second == 0) rows.erase(old);
    }
    if (row.kind != Kind::remove_whole) ++rows[merged(row.row, nullptr)];
    return {};
  }

  Database& db_;
  World& world_;
  std::shared_ptr<Database::Client> client_ = std::make_shared<Database::Client>();
  std::shared_ptr<Database::Client> locked_;  // as which it became the applier
  std::shared_ptr<Database::Session> session_;
  bool interrupted_ = false;
};

std::unique_ptr<sink::Target> Database::connect() { return std::make_unique<SimTarget>(*this); }

}  // namespace millrace::sim
