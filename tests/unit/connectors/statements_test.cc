// The SQL itself, for a binding made by hand; that Postgres agrees is tests/integration/target's
// business.
#include "connectors/postgres/statements.h"

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::postgres;

namespace {

void add(Binding& binding, const char* name, uint32_t oid, const char* type, bool key) {
  Column column;
  column.name = name;
  column.type_oid = oid;
  column.in_key = key;
  Output output;
  output.column = name;
  output.source = static_cast<int>(binding.source.columns.size());
  output.key = key;
  output.base_oid = oid;
  output.base_type = output.full_type = type;
  binding.source.columns.push_back(column);
  binding.outputs.push_back(output);
  binding.types.push_back({true, oid, type, type});
  binding.used_by_sql.push_back(false);
}

Binding payments() {
  Binding binding;
  binding.mapping.target_schema = "s";
  binding.mapping.target_table = "t\"";
  binding.keyed = true;
  add(binding, "id", 20, "bigint", true);
  add(binding, "v", 25, "text", false);
  add(binding, "m", 99999, "public.mood", false);
  return binding;
}

}  // namespace

TEST_CASE("upsert_statements: guarded, plain types as arrays, others as text with a cast") {
  const auto statements = upsert_statements(payments());
  CHECK(statements.write.sql ==
        "INSERT INTO \"s\".\"t\"\"\" AS t (\"id\", \"v\", \"m\", _millrace) SELECT e.d0, e.d1, "
        "e.d2, e.v FROM "
        "(SELECT _millrace_d0 AS d0, _millrace_d1 AS d1, _millrace_d2 AS d2, _millrace_v AS v FROM "
        "(SELECT u.c0 "
        "AS _millrace_d0, u.c1 AS _millrace_d1, u.c2::public.mood AS _millrace_d2, u.v AS "
        "_millrace_v FROM "
        "unnest($1::int8[], $2::text[], $3::text[], $4::bytea[]) AS u(c0, c1, c2, v)) AS "
        "_millrace_row) AS e "
        "ON CONFLICT (\"id\") DO UPDATE SET \"v\" = excluded.\"v\", \"m\" = excluded.\"m\", "
        "_millrace = "
        "excluded._millrace WHERE (t._millrace IS NULL OR t._millrace < excluded._millrace)");
  REQUIRE(statements.write.params.size() == 4);
  CHECK(statements.write.params[3].from == Param::From::version);
  CHECK_FALSE(statements.filter);
}

TEST_CASE("remove_statements: only the key travels") {
  const auto statements = remove_statements(payments());
  CHECK(statements.write.sql ==
        "DELETE FROM \"s\".\"t\"\"\" AS t USING (SELECT _millrace_d0 AS d0, _millrace_v AS v FROM "
        "(SELECT u.c0 AS "
        "_millrace_d0, u.v AS _millrace_v FROM unnest($1::int8[], $2::bytea[]) AS u(c0, v)) AS "
        "_millrace_row) AS "
        "e WHERE t.\"id\" = e.d0 AND (t._millrace IS NULL OR t._millrace < e.v)");
}

TEST_CASE("partial_statements: sets what is present, and checks that the row is there") {
  const auto statements = partial_statements(payments(), {true, true, false});
  REQUIRE(statements);
  CHECK(statements->write.sql.find("SET \"v\" = e.d1, _millrace = e.v FROM") != std::string::npos);
  CHECK(statements->write.sql.find("public.mood") == std::string::npos);
  REQUIRE(statements->missing);
  CHECK(statements->missing->params.size() == 1);
}

TEST_CASE("upsert_statements: a filter also removes what it keeps out, by the key alone") {
  Binding binding = payments();
  binding.mapping.where = "v <> ''";
  binding.where_needs = {false, true, false};
  binding.used_by_sql = binding.where_needs;
  const auto statements = upsert_statements(binding);
  REQUIRE(statements.filter);
  CHECK(statements.filter->sql.find("e.w IS NOT TRUE") != std::string::npos);
  CHECK(statements.filter->params.size() == 3);  // id, v, version; not m
  CHECK(statements.write.sql.find(" WHERE e.w ON CONFLICT") != std::string::npos);
}

TEST_CASE("partial_statements: an expression over touched and untouched values names the remedy") {
  Binding binding = payments();
  binding.mapping.expressions = {{"both", "v || m"}};
  binding.expression_needs = {{false, true, true}};
  Output output;
  output.column = "both";
  output.expression = 0;
  binding.outputs.push_back(output);
  const auto statements = partial_statements(binding, {true, true, false});
  REQUIRE_FALSE(statements);
  CHECK(statements.error().code() == ErrorCode::bad_data);
  CHECK(statements.error().hint().find("REPLICA IDENTITY FULL") != std::string::npos);
}
