#include "relay/cli/repair_plan.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "relay/cli/status_text.h"
#include "relay/cli/verify_text.h"

namespace millrace::cli {
namespace {

using nlohmann::ordered_json;
using sink::KeyText;

constexpr std::array kActions{RepairAction::insert, RepairAction::replace, RepairAction::remove,
                              RepairAction::keep, RepairAction::nothing};

std::string_view word(RepairAction action) {
  switch (action) {
    case RepairAction::insert:
      return "insert";
    case RepairAction::replace:
      return "replace";
    case RepairAction::remove:
      return "delete";
    case RepairAction::keep:
      return "keep";
    case RepairAction::nothing:
      break;
  }
  return "nothing";
}

Error no_report(const std::string& why) {
  return Error(ErrorCode::config,
               "this is no report of `millrace verify`: " + why + "; nothing was changed",
               "make one by `millrace verify --report FILE`");
}

Error refused(const std::string& why, const std::string& hint) {
  return Error(ErrorCode::refused, why + "; nothing was changed", hint);
}

const ordered_json* find(const ordered_json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto at = object.find(name);
  return at == object.end() ? nullptr : &*at;
}

Result<std::string> text_of(const ordered_json& object, const char* name) {
  const ordered_json* const value = find(object, name);
  if (value != nullptr && value->is_string()) return value->get<std::string>();
  return fail(no_report("it has no text `" + std::string(name) + "` where one belongs"));
}

Result<uint64_t> number_of(const ordered_json& object, const char* name) {
  const ordered_json* const value = find(object, name);
  if (value != nullptr && value->is_number_unsigned()) return value->get<uint64_t>();
  return fail(no_report("it has no number `" + std::string(name) + "` where one belongs"));
}

Result<const ordered_json*> list_of(const ordered_json& object, const char* name) {
  const ordered_json* const value = find(object, name);
  if (value != nullptr && value->is_array()) return value;
  return fail(no_report("it has no list `" + std::string(name) + "`"));
}

std::string dumped(const ordered_json& value) {
  return printable(value.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

// Values in the table's order of columns.
Result<KeyText> key_of(const ordered_json& row, const RepairableTable& table) {
  const ordered_json* const key = find(row, "key");
  KeyText out;
  if (key != nullptr && key->is_object() && key->size() == table.key_columns.size()) {
    for (const std::string& column : table.key_columns) {
      const auto at = key->find(column);
      if (at == key->end() || !at->is_string()) break;
      out.push_back(at->get<std::string>());
      // Postgres has no such text, and what follows it would be lost on the way.
      if (out.back().find('\0') != std::string::npos) return fail(no_report("a key holds a NUL"));
    }
  }
  if (out.size() == table.key_columns.size()) return out;
  return fail(ErrorCode::config,
              "the key of " + table.table + " is (" +
                  fmt::format("{}", fmt::join(table.key_columns, ", ")) + "), and the report has " +
                  (key != nullptr ? dumped(*key) : "none") + "; nothing was changed",
              "verify again: `millrace verify --report FILE`");
}

class ReportReader {
 public:
  ReportReader(const ordered_json& report, const RepairScope& scope,
               std::span<const RepairableTable> tables)
      : report_(report), scope_(scope), tables_(tables) {}

  Result<std::vector<TableRepair>> read() {
    TRY(check_head());
    TRY_ASSIGN(const ordered_json* const compared, list_of(report_, "tables"));
    TRY_ASSIGN(const ordered_json* const rows, list_of(report_, "differences"));
    TRY(read_tables(*compared));
    TRY(read_rows(*rows));
    for (size_t i = 0; i < out_.size(); ++i) TRY(check_complete(out_[i], counted_[i], listed_[i]));
    return std::move(out_);
  }

 private:
  Status check_head() {
    TRY_ASSIGN(const std::string pipeline, text_of(report_, "pipeline"));
    if (pipeline != scope_.pipeline) {
      return fail(refused("the report is of pipeline " + printable(pipeline) +
                              ", and the config's is " + scope_.pipeline,
                          "name the report and the config of one pipeline"));
    }
    TRY_ASSIGN(const uint64_t epoch, number_of(report_, "epoch"));
    if (epoch == scope_.epoch) return {};
    return fail(refused(fmt::format("the report is of epoch {}, and the target is in epoch {}",
                                    epoch, scope_.epoch),
                        "verify again: `millrace verify --report FILE`"));
  }

  bool asked(const std::string& table) const {
    return scope_.tables.empty() ||
           std::find(scope_.tables.begin(), scope_.tables.end(), table) != scope_.tables.end();
  }

  // Every table that was compared, and those to repair.
  Status read_tables(const ordered_json& compared) {
    for (const ordered_json& one : compared) {
      TRY_ASSIGN(const std::string name, text_of(one, "table"));
      uint64_t counted = 0;
      for (const char* kind : {"missing", "extra", "different"}) {
        TRY_ASSIGN(const uint64_t rows, number_of(one, kind));
        counted += rows;
      }
      if (!names_.insert(name).second) return fail(no_report("it has a table twice"));
      if (counted == 0 || !asked(name)) continue;
      TRY_ASSIGN(const RepairableTable* const table, repairable(name, one));
      out_.push_back({name, table->key_columns, table->filtered, {}, 0});
      repairables_.push_back(table);
      counted_.push_back(counted);
    }
    listed_.assign(out_.size(), 0);
    seen_.resize(out_.size());
    for (const std::string& name : scope_.tables) {
      if (names_.contains(name)) continue;
      return fail(ErrorCode::config, "the report did not compare " + name + "; nothing was changed",
                  "`millrace verify --table " + name + " --report FILE`");
    }
    return {};
  }

  Result<const RepairableTable*> repairable(const std::string& name, const ordered_json& one) {
    const auto table = std::find_if(tables_.begin(), tables_.end(),
                                    [&](const RepairableTable& t) { return t.table == name; });
    if (table == tables_.end()) {
      return fail(ErrorCode::config,
                  "`tables` has no " + printable(name) +
                      ", of which the report has differences; "
                      "nothing was changed",
                  "add it to the config, or name the tables to repair by --table");
    }
    if (table->key_columns.empty()) {
      return fail(ErrorCode::config,
                  name + " has no key, so its rows can not be told apart; nothing was changed",
                  "copy it anew by hand, or name the other tables by --table");
    }
    const ordered_json* const hash = find(one, "mapping_hash");
    if (hash == nullptr || !hash->is_string() || hash->get<std::string>() != table->mapping_hash) {
      return fail(refused("the config maps " + name + " otherwise than when it was verified",
                          "verify again: `millrace verify --table " + name + " --report FILE`"));
    }
    return &*table;
  }

  Status read_rows(const ordered_json& rows) {
    for (const ordered_json& row : rows) {
      TRY_ASSIGN(const std::string name, text_of(row, "table"));
      if (!names_.contains(name)) return fail(no_report("a difference is of no table in it"));
      const auto at = std::find_if(out_.begin(), out_.end(),
                                   [&](const TableRepair& table) { return table.table == name; });
      if (at == out_.end()) {
        if (!asked(name)) continue;
        return fail(no_report("it lists a difference of " + printable(name) + " and counts none"));
      }
      const auto i = static_cast<size_t>(at - out_.begin());
      RepairKey one;
      TRY_ASSIGN(one.kind, text_of(row, "kind"));
      if (one.kind != "missing" && one.kind != "extra" && one.kind != "different") {
        return fail(no_report("`" + printable(one.kind) + "` is no kind of difference"));
      }
      TRY_ASSIGN(one.key, key_of(row, *repairables_[i]));
      ++listed_[i];
      // Twice in a job's list, and the job could not know how far it has come.
      if (seen_[i].insert(one.key).second) at->keys.push_back(std::move(one));
    }
    return {};
  }

  Status check_complete(const TableRepair& table, uint64_t counted, uint64_t listed) const {
    if (listed == counted && listed <= kListMax) return {};
    const std::string again = "millrace verify --table " + table.table;
    return fail(refused(
        fmt::format("the report lists {} of the {} differences of {}", listed, counted,
                    table.table),
        counted > kListMax
            ? fmt::format("`millrace backfill start --replace --table {}` brings the whole table "
                          "over; at most {} rows can be listed",
                          table.table, kListMax)
            : fmt::format("list them all: `{} --list {} --report FILE`", again, kListMax)));
  }

  const ordered_json& report_;
  const RepairScope& scope_;
  const std::span<const RepairableTable> tables_;
  std::set<std::string> names_;  // compared
  // As many each, in one order.
  std::vector<TableRepair> out_;
  std::vector<const RepairableTable*> repairables_;
  std::vector<uint64_t> counted_, listed_;
  std::vector<std::set<KeyText>> seen_;
};

uint64_t count(const TableRepair& table, RepairAction action) {
  return static_cast<uint64_t>(
      std::count_if(table.keys.begin(), table.keys.end(),
                    [action](const RepairKey& key) { return key.action == action; }));
}

}  // namespace

Result<std::vector<TableRepair>> read_report(std::string_view json, const RepairScope& scope,
                                             std::span<const RepairableTable> tables) {
  const auto report = ordered_json::parse(json, nullptr, false);
  if (report.is_discarded()) return fail(no_report("it is not JSON, or was cut"));
  return ReportReader(report, scope, tables).read();
}

void set_actions(TableRepair& table, std::span<const KeyText> absent, bool delete_extra) {
  const std::set<KeyText> gone(absent.begin(), absent.end());
  for (RepairKey& one : table.keys) {
    const bool in_source = !gone.contains(one.key);
    if (one.kind == "extra") {
      // With a `where` the source may have the row and the target must not.
      one.action = !delete_extra                  ? RepairAction::keep
                   : in_source && !table.filtered ? RepairAction::replace
                                                  : RepairAction::remove;
    } else if (!in_source) {
      one.action = RepairAction::nothing;
    } else {
      one.action = one.kind == "missing" ? RepairAction::insert : RepairAction::replace;
    }
  }
}

std::optional<sink::CopyJob> repair_job(const TableRepair& table, bool delete_extra,
                                        const std::string& who) {
  sink::CopyJob job;
  job.kind = sink::JobKind::keys;
  job.table = table.table;
  job.replace = true;
  job.delete_extra = delete_extra;
  job.who = who;
  for (const RepairKey& one : table.keys) {
    // Not even looked at: a mapping's `where` may say that it must go.
    if (one.kind == "extra" && !delete_extra) continue;
    job.keys.push_back(one.key);
  }
  if (job.keys.empty()) return std::nullopt;
  return job;
}

std::string repair_journal(const TableRepair& table, const sink::CopyJob& job) {
  return fmt::format(
      "repair of {}: brings over {} rows again{}: {}", table.table, job.keys.size(),
      job.delete_extra ? ", and deletes those that the source does not have" : "",
      ordered_json(job.keys).dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

std::string repair_json(std::span<const TableRepair> tables, bool dry_run,
                        const std::string& verified) {
  ordered_json out;
  out["dry_run"] = dry_run;
  out["tables"] = ordered_json::array();
  for (const TableRepair& table : tables) {
    ordered_json one;
    one["table"] = table.table;
    one["job"] = table.job > 0 ? ordered_json(table.job) : ordered_json(nullptr);
    for (const RepairAction action : kActions)
      one[std::string(word(action))] = count(table, action);
    one["keys"] = ordered_json::array();
    for (const RepairKey& key : table.keys) {
      ordered_json named = ordered_json::object();
      for (size_t i = 0; i < key.key.size(); ++i) named[table.key_columns[i]] = key.key[i];
      one["keys"].push_back({{"key", named}, {"kind", key.kind}, {"action", word(key.action)}});
    }
    out["tables"].push_back(std::move(one));
  }
  out["verify"] =
      verified.empty() ? ordered_json(nullptr) : ordered_json::parse(verified, nullptr, false);
  return out.dump(2, ' ', true, ordered_json::error_handler_t::replace) + "\n";
}

std::string repair_text(std::span<const TableRepair> tables, bool each) {
  std::string out;
  for (const TableRepair& table : tables) {
    std::string counts;
    for (const RepairAction action : kActions) {
      const uint64_t rows = count(table, action);
      if (rows == 0) continue;
      counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", word(action), rows);
    }
    out += printable(table.table) + ": " + counts + "\n";
    for (const RepairKey& one : table.keys) {
      if (!each) break;
      NamedKey key;
      for (size_t i = 0; i < one.key.size(); ++i) {
        key.emplace_back(table.key_columns[i], one.key[i]);
      }
      out += fmt::format("  {} {}: {}{}\n", word(one.action), key_text(key), one.kind,
                         one.action == RepairAction::keep ? ", and --delete-extra was not given"
                         : one.action == RepairAction::nothing
                             ? ", and the source has no such row any more"
                             : "");
    }
  }
  return out;
}

}  // namespace millrace::cli
