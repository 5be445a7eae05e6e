// Workload: random transactions over five tables, as pgoutput messages and as what the tables hold
// after them.
//
// Three keyed tables (upserts, deletes, key changes, one with a value that is left in TOAST), a
// ledger that only grows, a table without a key under REPLICA IDENTITY FULL, and TRUNCATE. Keys are
// few, so that changes meet.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/state.h"
#include "tests/sim/world.h"
#include "tests/unit/decode/pgoutput_builder.h"

namespace millrace::sim {

struct Table {
  const char* name;
  char identity;
  std::vector<testing::ColumnSpec> columns;
  size_t keys;
  bool toasted = false;  // the last column is sent only when it changes
};

const std::vector<Table>& tables();
std::string relation(size_t table);  // its Relation message
State empty_state();

// A change, and the tables that it names.
using RowMessage = std::pair<std::vector<size_t>, std::string>;

class Workload {
 public:
  explicit Workload(Random& random) : random_(random) {}
  // So many random changes, made to `state` too.
  std::vector<RowMessage> transaction(uint64_t rows, State& state);

 private:
  using Messages = std::vector<RowMessage>;
  void random_row(Messages& messages, State& state);
  void change_keyed(Messages& messages, State& state, size_t table);
  void change_heap(Messages& messages, State& state, size_t table);
  void truncate(Messages& messages, State& state);

  Random& random_;
  uint64_t serial_ = 0;
};

}  // namespace millrace::sim
