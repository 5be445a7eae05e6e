// repair_plan: which rows a report of `millrace verify` asks to be brought over again, and what
// that does to each. Pure functions.
//
// Invariant: a report that does not speak of this pipeline as it is now, or does not list all that
// it counts, is refused whole: no plan is made of a part of it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "relay/base/result.h"
#include "relay/sink/history.h"

namespace millrace::cli {

// A table of the pipeline, as it is now.
struct RepairableTable {
  std::string table;                     // as display_name writes it
  std::vector<std::string> key_columns;  // in the order in which the table has them; empty: none
  std::string mapping_hash;
  bool filtered = false;  // the mapping has a `where`
};

struct RepairScope {
  std::string pipeline;
  uint32_t epoch = 1;
  std::vector<std::string> tables;  // likewise; empty: every one that differs
  bool delete_extra = false;
};

enum class RepairAction : uint8_t {
  insert,
  replace,
  remove,
  keep,     // extra, and nobody asked for its removal
  nothing,  // the source has no such row any more; its delete comes by the stream
};

struct RepairKey {
  sink::KeyText key;
  std::string kind;  // missing | extra | different
  RepairAction action = RepairAction::nothing;
};

struct TableRepair {
  std::string table;
  std::vector<std::string> key_columns;
  bool filtered = false;
  std::vector<RepairKey> keys;  // each once
  int64_t job = 0;              // 0: not added
};

// Tables without a difference are left out. Errors: config for what is no report, names a table
// that the config lacks or that has no key, or a key that is not the table's; refused for a report
// of another pipeline, epoch or mapping, and for one that was cut short.
Result<std::vector<TableRepair>> read_report(std::string_view json, const RepairScope& scope,
                                             std::span<const RepairableTable> tables);

// `absent`: those of its keys that the source does not have.
void set_actions(TableRepair& table, std::span<const sink::KeyText> absent, bool delete_extra);

// Null where there is nothing to bring over.
std::optional<sink::CopyJob> repair_job(const TableRepair& table, bool delete_extra,
                                        const std::string& who);
// For the journal: what is asked for, and every key.
std::string repair_journal(const TableRepair& table, const sink::CopyJob& job);

// `verified`: the report of the verify that followed, as JSON; empty: there was none.
std::string repair_json(std::span<const TableRepair> tables, bool dry_run,
                        const std::string& verified);
// A line a table; with `each`, and a line a key.
std::string repair_text(std::span<const TableRepair> tables, bool each);

}  // namespace millrace::cli
