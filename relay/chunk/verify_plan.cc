#include "relay/chunk/verify_plan.h"

#include <algorithm>
#include <array>
#include <map>

namespace millrace::chunk {
namespace {

using compare::TableShape;

constexpr const char* kVersionColumn = "_millrace";
constexpr const char* kRow = "_millrace_row";
// Types whose modifier is a length: a cast to it would cut what an assignment refuses.
constexpr std::array<std::string_view, 4> kLengths{"character varying", "bpchar", "bit",
                                                   "bit varying"};

std::string table_sql(const std::string& schema, const std::string& name) {
  return quote_identifier(schema) + "." + quote_identifier(name);
}

std::string display(const std::string& schema, const std::string& name) {
  return quote_if_needed(schema) + "." + quote_if_needed(name);
}

// Whatever standard_conforming_strings says.
std::string literal(const std::string& text) {
  std::string out = "E'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + "'";
}

std::string of_row(const std::string& column) {
  return std::string(kRow) + "." + quote_identifier(column);
}

std::string cast_type(const TableShape::Column& column) {
  const bool length =
      std::find(kLengths.begin(), kLengths.end(), column.plain_type) != kLengths.end();
  return length ? column.plain_type : column.type;
}

class Planner {
 public:
  Planner(const TableSchema& schema, const sink::TableMapping& mapping, const TableShape& source,
          const TableShape& target)
      : schema_(schema), mapping_(mapping), source_(source), target_(target) {}

  Result<TablePlan> plan(Compared what) {
    plan_.what = what;
    plan_.table = display_name(schema_);
    plan_.target_table = display(mapping_.target_schema, mapping_.target_table);
    plan_.keyed = schema_.has_key();
    if (!source_.exists) return fail(ErrorCode::bad_data, "the source has no such table");
    if (!target_.exists) {
      return fail(ErrorCode::bad_data, "the target has no table " + plan_.target_table);
    }
    TRY(find_columns());
    add_froms();
    if (plan_.keyed) TRY(add_keys());
    for (const auto& [column, sql] : expected_) {
      if (what == Compared::keys && plan_.keyed && !is_key(column)) continue;
      if (what == Compared::drift && is_key(column)) continue;
      if (what == Compared::drift) {
        add_states(column, sql);
      } else {
        add_column(column, sql + "::text", "t." + quote_identifier(column) + "::text");
      }
    }
    if (what == Compared::drift && plan_.columns.empty()) {  // all of it is the key
      for (const auto& [column, sql] : expected_) add_states(column, sql);
    }
    if (plan_.columns.empty()) return fail(ErrorCode::bad_data, "there is no column to compare");
    return std::move(plan_);
  }

 private:
  // What each target column must hold, over the source's row.
  Status find_columns() {
    for (const auto& expression : mapping_.expressions) {
      TRY(expect(expression.target_column, "(\n" + expression.sql + "\n)", ""));
      expressions_[expression.target_column] = expression.sql;
    }
    for (const Column& column : schema_.columns) {
      const bool dropped = std::find(mapping_.dropped.begin(), mapping_.dropped.end(),
                                     column.name) != mapping_.dropped.end();
      if (dropped || expected_.contains(column.name) || column.name == kVersionColumn) continue;
      const TableShape::Column* from = source_.find(column.name);
      if (from == nullptr) {
        return fail(ErrorCode::bad_data, "the source lost column " + column.name);
      }
      TRY(expect(column.name, of_row(column.name), from->type));
    }
    return {};
  }

  // `type`: of the source's column, or empty for an expression.
  Status expect(const std::string& column, const std::string& sql, const std::string& type) {
    const TableShape::Column* to = target_.find(column);
    if (to == nullptr) {
      return fail(ErrorCode::bad_data, "the target has no column " + quote_if_needed(column));
    }
    if (to->generated) return {};  // the target's own
    if (type == to->type) {
      expected_[column] = sql;
    } else if (type.empty()) {
      expected_[column] = "CAST(" + sql + " AS " + cast_type(*to) + ")";
    } else {
      // The stream carries text.
      expected_[column] = "CAST(" + sql + "::text AS " + cast_type(*to) + ")";
    }
    return {};
  }

  void add_froms() {
    std::string columns;
    for (const Column& column : schema_.columns) columns += quote_identifier(column.name) + ", ";
    plan_.source.from = "(SELECT " + columns +
                        "tableoid AS _millrace_1, ctid AS _millrace_2, xmin AS _millrace_3 FROM " +
                        (source_.is_partitioned ? "" : "ONLY ") +
                        table_sql(schema_.schema, schema_.name) + ") AS " + kRow;
    plan_.source.where = mapping_.where;
    plan_.source.mark = "concat_ws(' ', _millrace_1::oid, _millrace_2, _millrace_3)";
    plan_.target.from = table_sql(mapping_.target_schema, mapping_.target_table) + " AS t";
    plan_.target.mark = "''::text";
  }

  Status add_keys() {
    const TableShape::Column* version = target_.find(kVersionColumn);
    if (version == nullptr) {
      return fail(ErrorCode::bad_data, "the target has no column _millrace: it was not set up",
                  "`millrace setup`");
    }
    plan_.target.mark = "coalesce(encode(t._millrace, 'hex'), '')";
    for (const Column& column : schema_.columns) {
      if (!column.in_key) continue;
      TRY_ASSIGN(const std::string to, key_column(column.name));
      plan_.key_columns.push_back(column.name);
      plan_.source.keys.push_back(of_row(column.name));
      plan_.source.types.push_back(source_.find(column.name)->plain_type);
      plan_.target.keys.push_back("t." + quote_identifier(to));
      plan_.target.types.push_back(target_.find(to)->plain_type);
      target_keys_.push_back(to);
    }
    add_order();
    return {};
  }

  // The target column that holds this key column as it is.
  Result<std::string> key_column(const std::string& name) const {
    if (!expressions_.contains(name) && expected_.contains(name)) return name;
    for (const auto& [column, sql] : expressions_) {
      if (expected_.contains(column) && (sql == name || sql == quote_identifier(name))) {
        return column;
      }
    }
    return fail(ErrorCode::bad_data,
                "its key column " + quote_if_needed(name) +
                    " reaches the target only through an expression, so rows can not be found "
                    "there by the source's key");
  }

  void add_order() {
    std::vector<size_t> order;
    for (const std::string& column : source_.key_index) {
      const auto at = std::find(plan_.key_columns.begin(), plan_.key_columns.end(), column);
      if (at != plan_.key_columns.end()) {
        order.push_back(static_cast<size_t>(at - plan_.key_columns.begin()));
      }
    }
    if (order.size() != plan_.key_columns.size()) {
      order.clear();
      for (size_t i = 0; i < plan_.key_columns.size(); ++i) order.push_back(i);
    }
    plan_.source.order = order;
    plan_.target.order = order;
  }

  bool is_key(const std::string& column) const {
    return std::find(target_keys_.begin(), target_keys_.end(), column) != target_keys_.end();
  }

  void add_column(const std::string& column, std::string source, std::string target) {
    plan_.columns.push_back(column);
    plan_.source.columns.push_back(std::move(source));
    plan_.target.columns.push_back(std::move(target));
  }

  // num_nulls: IS NULL is true of a composite value whose members are.
  void add_states(const std::string& column, const std::string& sql) {
    const std::string& fallback = target_.find(column)->fallback;
    const auto state = [&fallback](const std::string& value) {
      std::string out = "CASE WHEN num_nulls(" + value + ") = 1 THEN 'null'";
      if (!fallback.empty()) {
        out += " WHEN " + value + "::text COLLATE \"C\" = " + literal(fallback) + " THEN 'default'";
      }
      return out + " ELSE 'value' END";
    };
    add_column(column, state(sql), state("t." + quote_identifier(column)));
  }

  const TableSchema& schema_;
  const sink::TableMapping& mapping_;
  const TableShape& source_;
  const TableShape& target_;
  TablePlan plan_;
  std::map<std::string, std::string> expected_;     // by target column, of its type
  std::map<std::string, std::string> expressions_;  // likewise, as the mapping has them
  std::vector<std::string> target_keys_;
};

}  // namespace

Result<TablePlan> plan_table(const TableSchema& schema, const sink::TableMapping& mapping,
                             const compare::TableShape& source, const compare::TableShape& target,
                             Compared what) {
  return Planner(schema, mapping, source, target).plan(what);
}

}  // namespace millrace::chunk
