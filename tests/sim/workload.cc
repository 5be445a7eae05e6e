#include "tests/sim/workload.h"

#include <utility>

#include "tests/unit/decode/pgoutput_builder.h"

namespace millrace::sim {

namespace pg = millrace::testing;

namespace {

constexpr size_t kKeyedTables = 3;
constexpr size_t kLedger = 3;
constexpr size_t kTags = 4;

uint32_t oid_of(size_t table) { return static_cast<uint32_t>(1000 + table); }

pg::Cell cell(const std::string& value) { return value == kNull ? pg::Cell('n') : pg::Cell(value); }

pg::Cells cells(const Values& row) {
  pg::Cells out;
  for (const std::string& value : row) out.push_back(cell(value));
  return out;
}

// The key, and NULL elsewhere.
pg::Cells key_cells(const Table& table, const Values& row) {
  pg::Cells out = cells(row);
  for (size_t i = table.keys; i < out.size(); ++i) out[i] = pg::Cell('n');
  return out;
}

Values key_of(const Table& table, const Values& row) {
  return {row.begin(), row.begin() + static_cast<std::ptrdiff_t>(table.keys)};
}

template <typename Map>
typename Map::iterator any_of(Map& map, Random& random) {
  return std::next(map.begin(), static_cast<std::ptrdiff_t>(random.below(map.size())));
}

}  // namespace

const std::vector<Table>& tables() {
  static const std::vector<Table> all = {
      {"accounts", 'd', {{"id", 25, true}, {"balance", 25}, {"note", 25}}, 1},
      {"items", 'd', {{"a", 25, true}, {"b", 25, true}, {"big", 25}}, 2, true},
      {"counters", 'd', {{"id", 25, true}, {"n", 25}}, 1},
      {"ledger", 'd', {{"entry", 25}, {"amount", 25}}, 0},
      {"tags", 'f', {{"name", 25, true}, {"n", 25, true}}, 0},
  };
  return all;
}

std::string relation(size_t table) {
  const Table& t = tables()[table];
  return pg::relation(oid_of(table), "public", t.name, t.identity, t.columns);
}

State empty_state() {
  State empty;
  for (size_t t = 0; t < tables().size(); ++t) {
    if (t < kKeyedTables) {
      empty.keyed[tables()[t].name];
    } else {
      empty.heaps[tables()[t].name];
    }
  }
  return empty;
}

std::vector<RowMessage> Workload::transaction(uint64_t rows, State& state) {
  std::vector<RowMessage> messages;
  for (uint64_t i = 0; i < rows; ++i) random_row(messages, state);
  return messages;
}

void Workload::random_row(Messages& messages, State& state) {
  if (random_.percent(2)) return truncate(messages, state);
  const uint64_t table = random_.below(7);
  if (table < kKeyedTables) return change_keyed(messages, state, table);
  if (table == kTags) return change_heap(messages, state, kTags);
  Values entry{std::to_string(++serial_), std::to_string(random_.below(100))};
  messages.push_back({{kLedger}, pg::insert(oid_of(kLedger), cells(entry))});
  ++state.heaps["ledger"].rows[entry];
}

void Workload::change_keyed(Messages& messages, State& state, size_t index) {
  const Table& table = tables()[index];
  auto& rows = state.keyed[table.name].rows;
  const auto add = [&](std::string message) { messages.push_back({{index}, std::move(message)}); };
  Values fresh;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    fresh.push_back(i < table.keys ? std::to_string(random_.below(4))
                                   : "v" + std::to_string(++serial_));
  }
  if (table.columns.size() > 2 && random_.percent(10)) fresh.back() = kNull;
  const Values key = key_of(table, fresh);
  const auto there = rows.find(key);
  if (there == rows.end() && !rows.empty() && random_.percent(40)) {  // a row moves to this key
    const auto old = any_of(rows, random_);
    pg::Cells after = cells(fresh);
    Values moved = fresh;
    if (table.toasted && random_.percent(60)) {
      after.back() = pg::Cell('u');
      moved.back() = old->second.back();
    }
    add(pg::update(oid_of(index), 'K', key_cells(table, old->second), after));
    rows.erase(old);
    rows[key] = moved;
  } else if (there == rows.end()) {
    add(pg::insert(oid_of(index), cells(fresh)));
    rows[key] = fresh;
  } else if (random_.percent(25)) {
    add(pg::remove(oid_of(index), 'K', key_cells(table, there->second)));
    rows.erase(there);
  } else {
    pg::Cells after = cells(fresh);
    if (table.toasted && random_.percent(60)) {
      after.back() = pg::Cell('u');
      fresh.back() = there->second.back();
    }
    add(pg::update(oid_of(index), after));
    there->second = fresh;
  }
}

void Workload::change_heap(Messages& messages, State& state, size_t index) {
  auto& rows = state.heaps[tables()[index].name].rows;
  const Values fresh{"t" + std::to_string(random_.below(3)), std::to_string(random_.below(3))};
  const auto take = [&](std::map<Values, int>::iterator row) {
    if (--row->second == 0) rows.erase(row);
  };
  std::string message;
  if (rows.empty() || random_.percent(40)) {
    message = pg::insert(oid_of(index), cells(fresh));
    ++rows[fresh];
  } else {
    const auto old = any_of(rows, random_);
    if (random_.percent(40)) {
      message = pg::remove(oid_of(index), 'O', cells(old->first));
      take(old);
    } else {
      message = pg::update(oid_of(index), 'O', cells(old->first), cells(fresh));
      take(old);
      ++rows[fresh];
    }
  }
  messages.push_back({{index}, std::move(message)});
}

void Workload::truncate(Messages& messages, State& state) {
  std::vector<size_t> which{random_.below(tables().size())};
  const size_t other = random_.below(tables().size());
  if (random_.percent(30) && other != which.front()) which.push_back(other);
  std::vector<uint32_t> oids;
  for (const size_t table : which) {
    oids.push_back(oid_of(table));
    if (table < kKeyedTables) {
      state.keyed[tables()[table].name].rows.clear();
    } else {
      state.heaps[tables()[table].name].rows.clear();
    }
  }
  messages.push_back({which, pg::truncate(oids)});
}

}  // namespace millrace::sim
