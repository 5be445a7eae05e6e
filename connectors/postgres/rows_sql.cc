#include "connectors/postgres/rows_sql.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace millrace::postgres {
namespace {

// OIDs from pg_type.dat; they are the same on every server. box is missing: its arrays divide by
// ';'.
constexpr std::array<std::pair<uint32_t, const char*>, 30> kPlainTypes = {{
    {16, "bool"},          {17, "bytea"},      {18, "\"char\""}, {19, "name"},
    {20, "int8"},          {21, "int2"},       {23, "int4"},     {25, "text"},
    {26, "oid"},           {114, "json"},      {142, "xml"},     {600, "point"},
    {650, "cidr"},         {700, "float4"},    {701, "float8"},  {774, "macaddr8"},
    {790, "money"},        {829, "macaddr"},   {869, "inet"},    {1042, "bpchar"},
    {1043, "varchar"},     {1082, "date"},     {1083, "time"},   {1114, "timestamp"},
    {1184, "timestamptz"}, {1186, "interval"}, {1266, "timetz"}, {1700, "numeric"},
    {2950, "uuid"},        {3802, "jsonb"},
}};

const Output* direct_output(const Binding& binding, size_t source) {
  for (const Output& output : binding.outputs) {
    if (output.source == static_cast<int>(source)) return &output;
  }
  return nullptr;
}

// Builds `e`, and the parameters that it reads.
class RowsSql {
 public:
  RowsSql(const Binding& binding, RowsShape shape, Statement& statement)
      : binding_(binding), shape_(std::move(shape)), statement_(statement) {}

  std::string build();

 private:
  void add_param(Param param, const std::string& type, const std::string& name);
  void add_column(size_t i);
  bool lean_sql_needs(size_t i) const;
  void add_output(size_t o);

  // The key under which the row stood: the same value or expression, over the old row.
  void add_old_key(size_t o);

  const Binding& binding_;
  RowsShape shape_;
  Statement& statement_;
  std::vector<std::string> arrays_, names_, inner_, outer_;
};

std::string RowsSql::build() {
  for (size_t i = 0; i < binding_.source.columns.size(); ++i) {
    if (shape_.present[i]) add_column(i);
  }
  for (size_t o = 0; o < binding_.outputs.size(); ++o) add_output(o);
  if (shape_.filter) outer_.push_back("(\n" + binding_.mapping.where + "\n) AS w");
  if (shape_.version) {
    add_param({Param::From::version, 0}, "bytea", "v");
    inner_.emplace_back("u.v AS _millrace_v");
    outer_.emplace_back("_millrace_v AS v");
  }
  if (shape_.ordinal) {
    names_.emplace_back("n");
    inner_.emplace_back("u.n AS _millrace_n");
    outer_.emplace_back("_millrace_n AS n");
  }
  return "(SELECT " + join(outer_, ", ") + " FROM (SELECT " + join(inner_, ", ") + " FROM unnest(" +
         join(arrays_, ", ") + ")" + (shape_.ordinal ? " WITH ORDINALITY" : "") + " AS u(" +
         join(names_, ", ") + ")) AS _millrace_row) AS e";
}

void RowsSql::add_param(Param param, const std::string& type, const std::string& name) {
  statement_.params.push_back(param);
  arrays_.push_back(fmt::format("${}::{}[]", statement_.params.size(), type));
  names_.push_back(name);
}

void RowsSql::add_column(size_t i) {
  const Output* output = direct_output(binding_, i);
  if (output != nullptr && shape_.lean && !output->key) output = nullptr;
  const bool sql = binding_.used_by_sql[i] && (!shape_.lean || lean_sql_needs(i));
  if (output == nullptr && !sql) return;
  const char* direct = output == nullptr ? nullptr : plain_type(output->base_oid);
  const char* typed = sql ? plain_type(binding_.types[i].base_oid) : nullptr;
  const char* plain = output == nullptr ? typed : direct;
  if (output != nullptr && sql && direct != typed) plain = nullptr;
  const std::string raw = fmt::format("u.c{}", i);
  add_param({Param::From::row, static_cast<uint32_t>(i)}, plain == nullptr ? "text" : plain,
            fmt::format("c{}", i));
  if (output != nullptr) {
    const std::string value = plain != nullptr ? raw : raw + "::" + output->base_type;
    inner_.push_back(fmt::format("{} AS _millrace_d{}", value, output - binding_.outputs.data()));
  }
  if (sql) {
    const std::string value = plain != nullptr ? raw : raw + "::" + binding_.types[i].type;
    inner_.push_back(value + " AS " + quote_identifier(binding_.source.columns[i].name));
  }
}

bool RowsSql::lean_sql_needs(size_t i) const {
  if (shape_.filter && binding_.where_needs[i]) return true;
  return std::any_of(binding_.outputs.begin(), binding_.outputs.end(), [&](const Output& output) {
    return output.key && output.expression >= 0 &&
           binding_.expression_needs[static_cast<size_t>(output.expression)][i];
  });
}

void RowsSql::add_output(size_t o) {
  const Output& output = binding_.outputs[o];
  if (shape_.lean && !output.key) return;
  if (output.source >= 0) {
    if (shape_.present[static_cast<size_t>(output.source)]) {
      outer_.push_back(fmt::format("_millrace_d{} AS d{}", o, o));
    }
  } else if (!any_absent(binding_.expression_needs[static_cast<size_t>(output.expression)],
                         shape_.present)) {
    outer_.push_back(
        fmt::format("(\n{}\n) AS d{}",
                    binding_.mapping.expressions[static_cast<size_t>(output.expression)].sql, o));
  }
  if (shape_.old_keys && output.key) add_old_key(o);
}

void RowsSql::add_old_key(size_t o) {
  const Output& output = binding_.outputs[o];
  if (output.source >= 0) {
    const auto column = static_cast<uint32_t>(output.source);
    const char* plain = plain_type(output.base_oid);
    add_param({Param::From::before, column}, plain == nullptr ? "text" : plain,
              fmt::format("o{}", o));
    inner_.push_back(plain != nullptr
                         ? fmt::format("u.o{} AS _millrace_o{}", o, o)
                         : fmt::format("u.o{}::{} AS _millrace_o{}", o, output.base_type, o));
    outer_.push_back(fmt::format("_millrace_o{} AS o{}", o, o));
    return;
  }
  const auto& needs = binding_.expression_needs[static_cast<size_t>(output.expression)];
  std::vector<std::string> columns;
  for (uint32_t i = 0; i < needs.size(); ++i) {
    if (!needs[i]) continue;
    const std::string name = fmt::format("o{}_{}", o, i);
    add_param({Param::From::before, i}, "text", name);
    inner_.push_back(fmt::format("u.{}::{} AS _millrace_{}", name, binding_.types[i].type, name));
    columns.push_back(
        fmt::format("_millrace_{} AS {}", name, quote_identifier(binding_.source.columns[i].name)));
  }
  outer_.push_back(
      fmt::format("(SELECT (\n{}\n) FROM (SELECT {}) AS _millrace_old) AS o{}",
                  binding_.mapping.expressions[static_cast<size_t>(output.expression)].sql,
                  join(columns, ", "), o));
}

}  // namespace

std::string join(const std::vector<std::string>& parts, const char* separator) {
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += separator;
    out += part;
  }
  return out;
}

bool any_absent(const std::vector<bool>& needs, const Present& present) {
  for (size_t i = 0; i < needs.size(); ++i) {
    if (needs[i] && !present[i]) return true;
  }
  return false;
}

std::string rows_sql(const Binding& binding, RowsShape shape, Statement& statement) {
  return RowsSql(binding, std::move(shape), statement).build();
}

const char* plain_type(uint32_t base_oid) {
  for (const auto& [oid, name] : kPlainTypes) {
    if (oid == base_oid) return name;
  }
  return nullptr;
}

}  // namespace millrace::postgres
