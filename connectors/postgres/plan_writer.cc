#include "connectors/postgres/plan_writer.h"

#include <algorithm>
#include <set>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "connectors/postgres/jobs.h"

namespace millrace::postgres {

using sink::PlannedRow;
using Kind = PlannedRow::Kind;

namespace {

std::string present_mask(Row row) {
  std::string mask(row.size(), '1');
  for (size_t i = 0; i < row.size(); ++i) {
    if (row[i].kind == ValueKind::unchanged) mask[i] = '0';
  }
  return mask;
}

Present present_of(const std::string& mask) {
  Present present;
  for (const char c : mask) present.push_back(c == '1');
  return present;
}

bool is_full(const std::string& mask) { return mask.find('0') == std::string::npos; }

}  // namespace

void PlanWriter::begin(uint32_t epoch) {
  if (std::exchange(forget_next_, false)) forget();
  ++transaction_;
  epoch_ = epoch;
}

bool PlanWriter::stale() const {
  return std::any_of(bound_.begin(), bound_.end(), [this](const auto& table) {
    return table.second->binding.read_in != transaction_;
  });
}

void PlanWriter::watch_changed() {
  for (auto& [fingerprint, table] : bound_) known_.put(std::move(table->binding));
  bound_.clear();
}

void PlanWriter::forget() {
  bound_.clear();
  known_.forget();
  parents_.clear();
  ranks_.clear();
  ranks_loaded_ = false;
  connection_.forget_prepared();
}

Status PlanWriter::write(const sink::BatchPlan& plan, bool in_order, bool careful) {
  in_order_ = in_order;
  careful_ = careful;
  wants_care_ = false;
  completed_.clear();
  TRY(load_ranks());
  TRY(read_tables(plan));
  if (!plan.truncate.empty()) TRY(truncate(plan));
  std::vector<Groups> tables;
  for (const sink::TablePlan& table : plan.tables) {
    TRY_ASSIGN(auto groups, group(table));
    tables.push_back(std::move(groups));
  }
  std::stable_sort(tables.begin(), tables.end(),
                   [](const Groups& a, const Groups& b) { return a.table->rank < b.table->rank; });
  for (Groups& groups : tables) TRY(write_moves(groups));
  for (auto groups = tables.rbegin(); groups != tables.rend(); ++groups) {
    TRY(run_rows(*groups->table, groups->table->remove, groups->removes));
  }
  for (Groups& groups : tables) TRY(write_rest(groups));
  return {};
}

Status PlanWriter::read_tables(const sink::BatchPlan& plan) {
  std::vector<const TableSchema*> unknown;
  const auto add = [&](const TableSchema* schema) {
    if (!bound_.contains(schema->fingerprint)) unknown.push_back(schema);
  };
  std::for_each(plan.truncate.begin(), plan.truncate.end(), add);
  for (const sink::TablePlan& table : plan.tables) add(table.table);
  return unknown.empty() ? Status() : known_.read(unknown, transaction_);
}

Result<PlanWriter::Table*> PlanWriter::table_of(const TableSchema& schema) {
  if (const auto known = bound_.find(schema.fingerprint); known != bound_.end()) {
    return known->second.get();
  }
  if (known_.mapping_of(schema) == nullptr) {
    return fail(Error(ErrorCode::bad_data, "the config maps no such source table",
                      "add it under tables in the config")
                    .at("table " + display_name(schema)));
  }
  const TableSchema* const one[] = {&schema};
  TRY(known_.read(one, transaction_));
  auto table = std::make_unique<Table>();
  table->binding = known_.take(schema);
  Binding& binding = table->binding;
  if (binding.findings.empty() && binding.keyed && binding.target.find(kVersionColumn) == nullptr) {
    return fail(Error(ErrorCode::bad_data, "the target has no version column",
                      "millrace setup; or ALTER TABLE " + binding.table_sql() +
                          " ADD COLUMN _millrace bytea")
                    .at(binding.display()));
  }
  if (!binding.findings.empty()) return fail(std::move(binding.findings.front()));
  table->rank = rank_of(binding.table_sql());
  table->copying.sql = copy_fresh_sql(binding);
  if (binding.keyed) {
    if (watch_.tables.contains(display_name(schema))) table->watched = scope_of(schema);
    table->upsert = upsert_statements(binding, watched(*table));
    table->remove = remove_statements(binding, watched(*table));
  } else {
    table->append = append_statements(binding);
    table->remove_whole = remove_whole_statement(binding);
    table->replace_whole = replace_whole_statement(binding);
    if (!binding.mapping.where.empty()) table->passes = passes_statement(binding);
  }
  return bound_.emplace(schema.fingerprint, std::move(table)).first->second.get();
}

Status PlanWriter::load_ranks() {
  if (ranks_loaded_) return {};
  TRY_ASSIGN(const auto edges, read_foreign_keys(connection_));
  for (const auto& [child, parent] : edges) parents_[child].push_back(parent);
  ranks_loaded_ = true;
  return {};
}

// The longest way up to a table without parents; a cycle is cut where it closes.
size_t PlanWriter::rank_of(const std::string& table) {
  if (const auto known = ranks_.find(table); known != ranks_.end()) return known->second;
  ranks_[table] = 0;
  size_t rank = 0;
  if (const auto parents = parents_.find(table); parents != parents_.end()) {
    for (const std::string& parent : parents->second) rank = std::max(rank, rank_of(parent) + 1);
  }
  return ranks_[table] = rank;
}

// Not those that a cycle leads back to: their ranks are larger.
Result<std::vector<std::string>> PlanWriter::above(const std::string& table) {
  TRY(load_ranks());
  std::vector<std::string> out;
  std::unordered_set<std::string> seen{table};
  std::vector<std::string> next{table};
  while (!next.empty()) {
    const auto parents = parents_.find(next.back());
    next.pop_back();
    if (parents == parents_.end()) continue;
    for (const std::string& parent : parents->second) {
      if (!seen.insert(parent).second) continue;
      next.push_back(parent);
      if (rank_of(parent) < rank_of(table)) out.push_back(parent);
    }
  }
  return out;
}

Result<PlanWriter::Groups> PlanWriter::group(const sink::TablePlan& plan) {
  Groups groups;
  groups.plan = &plan;
  TRY_ASSIGN(groups.table, table_of(*plan.table));
  for (const PlannedRow& row : plan.rows) {
    switch (row.kind) {
      case Kind::upsert:
        (row.fresh ? groups.fresh : groups.upserts).push_back(&row);
        break;
      case Kind::partial:
        groups.partials[present_mask(row.row)].push_back(&row);
        break;
      case Kind::move:
        groups.moves[present_mask(row.row)].push_back(&row);
        break;
      case Kind::remove:
        groups.removes.push_back(&row);
        break;
      case Kind::append:
      case Kind::replace_whole:
      case Kind::remove_whole:
        break;  // written in order from the plan itself
    }
  }
  return groups;
}

Status PlanWriter::truncate(const sink::BatchPlan& plan) {
  std::set<std::string> names;
  for (const TableSchema* schema : plan.truncate) {
    TRY_ASSIGN(const Table* table, table_of(*schema));
    const auto& mapping = table->binding.mapping;
    const auto sharing =
        std::count_if(tables_.begin(), tables_.end(), [&](const sink::TableMapping& m) {
          return m.target_schema == mapping.target_schema && m.target_table == mapping.target_table;
        });
    if (sharing > 1) {
      return fail(
          Error(
              ErrorCode::bad_data,
              "the source truncated " + display_name(*schema) +
                  ", but its target holds other tables' rows too",
              "give each source table a target table of its own, and start again from a fresh copy")
              .at(table->binding.display()));
    }
    names.insert(table->binding.table_sql());
    // What was copied goes too, and what was read before must not come back.
    if (table->watched) TRY(restart_jobs(connection_, watch_.pipeline, display_name(*schema)));
  }
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  const Reply reply = connection_.run(
      "TRUNCATE TABLE " + list + (plan.restart_identity ? " RESTART IDENTITY" : "") + " RESTRICT");
  if (reply.ok()) return {};
  return fail(
      to_error(connection_, reply, "truncating")
          .at("table " + list)
          .with_hint(
              "tables of the target that point at it must be truncated with it at the source"));
}

Status PlanWriter::write_moves(Groups& groups) {
  Table& table = *groups.table;
  const auto& outputs = table.binding.outputs;
  const bool fixed = std::any_of(outputs.begin(), outputs.end(), [](const Output& output) {
    return output.key && output.identity_always;
  });
  for (auto& [mask, rows] : groups.moves) {
    if (is_full(mask)) groups.upserts.insert(groups.upserts.end(), rows.begin(), rows.end());
    if (fixed && is_full(mask)) continue;  // the old key is removed, the new one inserted
    if (fixed) {
      return fail(name_row(
          table, *rows.front(),
          Error(ErrorCode::bad_data,
                "the key is GENERATED ALWAYS in the target and can not be changed, and the "
                "change carries no full row",
                "ALTER TABLE " + table.binding.table_sql() +
                    " ALTER COLUMN … SET GENERATED BY DEFAULT")));
    }
    auto known = table.move.find(mask);
    if (known == table.move.end()) {
      TRY_ASSIGN(auto statements, move_statements(table.binding, present_of(mask), watched(table)));
      known = table.move.emplace(mask, std::move(statements)).first;
    }
    TRY(complete(groups, known->second, rows));
    TRY(run_rows(table, known->second, rows));
  }
  return {};
}

Status PlanWriter::write_rest(Groups& groups) {
  Table& table = *groups.table;
  if (!table.binding.keyed) return write_whole_rows(table, *groups.plan);
  for (auto& [mask, rows] : groups.partials) {
    auto known = table.partial.find(mask);
    if (known == table.partial.end()) {
      TRY_ASSIGN(auto statements,
                 partial_statements(table.binding, present_of(mask), watched(table)));
      known = table.partial.emplace(mask, std::move(statements)).first;
    }
    TRY(complete(groups, known->second, rows));
    TRY(run_rows(table, known->second, rows));
  }
  TRY_ASSIGN(const bool copied, copy_rows(table, groups.fresh));
  if (!copied) {
    Rows& rows = groups.upserts;
    rows.insert(rows.end(), groups.fresh.begin(), groups.fresh.end());
    std::sort(rows.begin(), rows.end());  // the plan's order
  }
  return run_rows(table, table.upsert, groups.upserts);
}

// In order, runs of inserts in bulk.
Status PlanWriter::write_whole_rows(Table& table, const sink::TablePlan& plan) {
  Rows inserts;
  const auto append = [&]() -> Status {
    TRY_ASSIGN(const bool copied, copy_rows(table, inserts));
    return copied ? Status() : run_rows(table, table.append, inserts);
  };
  for (const PlannedRow& row : plan.rows) {
    if (row.kind == Kind::append) {
      inserts.push_back(&row);
      continue;
    }
    TRY(append());
    inserts.clear();
    TRY(write_whole_row(table, row));
  }
  return append();
}

Status PlanWriter::write_whole_row(Table& table, const PlannedRow& row) {
  const bool filtered = !table.binding.mapping.where.empty();
  Attempt failed;
  if (row.kind == Kind::replace_whole && !filtered) {
    const auto reply = run_scalar(table, table.replace_whole, row, failed);
    if (!reply) return finish(std::move(failed));
    if (reply->affected() == 1) return {};
    return fail(
        name_row(table, row, Error(ErrorCode::rejected, "the target has no such row to update")));
  }
  PlannedRow old = row;
  if (row.kind == Kind::replace_whole) old.row = row.before;
  const auto reply = run_scalar(table, table.remove_whole, old, failed);
  if (!reply) return finish(std::move(failed));
  if (reply->affected() != 1) {
    bool expected = true;
    if (filtered) {
      const auto passes = run_scalar(table, table.passes, old, failed);
      if (!passes) return finish(std::move(failed));
      expected = passes->rows() != 0;
    }
    if (expected) {
      return fail(
          name_row(table, old, Error(ErrorCode::rejected, "the target has no such row to delete")));
    }
  }
  if (row.kind != Kind::replace_whole) return {};
  const PlannedRow* const one[] = {&row};
  return run_rows(table, table.append, one);
}

}  // namespace millrace::postgres
