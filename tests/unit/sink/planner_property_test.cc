// Random histories over few keys: what the collapsed plans make of a target is what the source
// holds.
#include <random>

#include <doctest/doctest.h>

#include "relay/sink/apply_batch.h"
#include "relay/sink/planner.h"
#include "tests/unit/sink/history.h"

using namespace millrace;
using namespace millrace::sink;
using namespace millrace::sink::test;

namespace {

class RandomSource {
 public:
  explicit RandomSource(uint64_t seed) : random_(seed) {
    tables_ = {make_table("a", {"id", "v", "big", "big2"}, 1),
               make_table("b", {"id", "v", "big", "big2"}, 1, ReplicaIdentity::full),
               make_table("heap", {"v", "w"}, 0, ReplicaIdentity::full)};
  }

  std::map<std::string, MemoryTable> held;
  std::map<std::string, std::vector<MemoryRow>> heaps;

  void change(History& h) {
    const size_t pick = below(20);
    if (pick == 0) return truncate(h);
    if (pick < 4) return change_heap(h, tables_[2]);
    const TableSchemaPtr& table = tables_[pick < 14 ? 0 : 1];
    auto& rows = held[table->name];
    const Text id = std::to_string(below(6));
    const auto at = rows.find({id});
    if (at == rows.end()) {
      const MemoryRow row = {id, word(), word(), word()};
      rows[{id}] = row;
      h.insert(table, values(row));
    } else if (below(4) == 0) {
      h.remove(table, old_of(*table, at->second));
      rows.erase(at);
    } else {
      update(h, table, at->second);
    }
    if (below(3) == 0) h.commit();
  }

 private:
  size_t below(size_t n) { return random_() % n; }
  Text word() { return below(8) == 0 ? Text("\x01") : "w" + std::to_string(below(1000)); }

  static std::vector<Value> values(const MemoryRow& row) {
    std::vector<Value> out;
    for (const Text& t : row) out.push_back(t == "\x01" ? null() : text(t));
    return out;
  }
  static std::vector<Value> old_of(const TableSchema& table, const MemoryRow& row) {
    auto old = values(row);
    if (table.identity == ReplicaIdentity::full) return old;
    for (size_t i = 0; i < old.size(); ++i) {
      if (!table.columns[i].in_key) old[i] = null();
    }
    return old;
  }

  void update(History& h, const TableSchemaPtr& table, const MemoryRow before) {
    auto& rows = held[table->name];
    MemoryRow after = before;
    const Text to = std::to_string(below(6));
    const bool key_changes = below(2) == 0 && rows.count({to}) == 0;
    if (key_changes) after[0] = to;
    auto sent = values(after);
    for (size_t i = 1; i < after.size(); ++i) {
      if (below(2) == 0) {
        after[i] = word();
        sent[i] = after[i] == "\x01" ? null() : text(after[i]);
      } else if (i >= 2 && after[i] != "\x01") {
        sent[i] = unchanged();  // a TOASTed value that was not touched
      }
    }
    const bool with_old = key_changes || table->identity == ReplicaIdentity::full;
    // The views in `sent` must outlive the call: `after` does.
    for (size_t i = 0; i < after.size(); ++i) {
      if (sent[i].kind == ValueKind::text) sent[i].text = after[i];
    }
    h.update(table, sent, with_old ? old_of(*table, before) : std::vector<Value>{});
    rows.erase({before[0]});
    rows[{after[0]}] = after;
  }

  void change_heap(History& h, const TableSchemaPtr& table) {
    auto& heap = heaps[table->name];
    if (heap.empty() || below(2) == 0) {
      heap.push_back({"x" + std::to_string(below(3)), "y"});
      return h.insert(table, values(heap.back()));
    }
    MemoryRow& row = heap[below(heap.size())];
    const MemoryRow before = row;
    if (below(2) == 0) {
      row[0] = "x" + std::to_string(below(3));
      h.update(table, values(row), values(before));
    } else {
      h.remove(table, values(before));
      heap.erase(heap.begin() + (&row - heap.data()));
    }
  }

  void truncate(History& h) {
    std::vector<TableSchemaPtr> which = {tables_[below(3)]};
    if (below(2) == 0 && which[0] != tables_[0]) which.push_back(tables_[0]);
    for (const auto& table : which) {
      held[table->name].clear();
      heaps[table->name].clear();
    }
    h.truncate(which);
  }

  std::mt19937_64 random_;
  std::vector<TableSchemaPtr> tables_;
};

void sort_heaps(std::map<std::string, std::vector<MemoryRow>>& heaps) {
  std::erase_if(heaps, [](const auto& heap) { return heap.second.empty(); });
  for (auto& [name, rows] : heaps) std::sort(rows.begin(), rows.end());
}

void drop_empty(std::map<std::string, MemoryTable>& tables) {
  std::erase_if(tables, [](const auto& table) { return table.second.empty(); });
}

}  // namespace

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kHistories = 300;  // each takes many times as long
#else
constexpr uint64_t kHistories = 3000;
#endif

TEST_CASE("plan: random histories end where the source does") {
  Planner planner;
  size_t moves = 0;
  size_t partials = 0;
  size_t divided = 0;
  for (uint64_t seed = 1; seed <= kHistories; ++seed) {
    CAPTURE(seed);
    RandomSource source(seed);
    MemoryTarget target;
    for (int batch = 0; batch < 4; ++batch) {
      History h(1000 + 100000 * static_cast<uint64_t>(batch));
      const size_t changes = 1 + seed % 40;
      for (size_t i = 0; i < changes; ++i) source.change(h);
      const auto plans = planner.plan(h.batch.changes());
      REQUIRE(plans);
      divided += plans->size() > 1 ? 1 : 0;
      for (const BatchPlan& plan : *plans) {
        REQUIRE(target.write(plan, false));
        for (const TablePlan& table : plan.tables) {
          for (const PlannedRow& row : table.rows) {
            moves += row.kind == PlannedRow::Kind::move ? 1 : 0;
            partials += row.kind == PlannedRow::Kind::partial ? 1 : 0;
          }
        }
      }
      REQUIRE(target.unsound == std::vector<std::string>{});
      sort_heaps(target.heaps);
      sort_heaps(source.heaps);
      drop_empty(target.tables);
      drop_empty(source.held);
      REQUIRE(target.tables == source.held);
      REQUIRE(target.heaps == source.heaps);
    }
  }
  // The histories are worth their name only if they reach the hard cases.
  CHECK(moves > kHistories / 3);
  CHECK(partials > kHistories / 3);
  CHECK(divided > kHistories / 3);
}

TEST_CASE("plan: one change at a time ends there too") {
  for (uint64_t seed = 1; seed <= kHistories / 10; ++seed) {
    CAPTURE(seed);
    RandomSource source(seed);
    MemoryTarget target;
    History h;
    for (size_t i = 0; i < 60; ++i) source.change(h);
    Planner planner;
    for (const Change& change : h.batch.changes()) {
      const auto plans = planner.plan({&change, 1});
      REQUIRE(plans);
      for (const BatchPlan& plan : *plans) REQUIRE(target.write(plan, true));
    }
    REQUIRE(target.unsound == std::vector<std::string>{});
    sort_heaps(target.heaps);
    sort_heaps(source.heaps);
    drop_empty(target.tables);
    drop_empty(source.held);
    REQUIRE(target.tables == source.held);
    REQUIRE(target.heaps == source.heaps);
  }
}
