#include "relay/chunk/verify_plan.h"

#include <doctest/doctest.h>

namespace millrace::chunk {
namespace {

using compare::TableShape;

TableSchema schema() {
  TableSchema out;
  out.schema = "public";
  out.name = "t";
  out.columns = {
      {"a", 25, -1, "", "", true}, {"b", 23, -1, "", "", true}, {"c", 25, -1, "", "", false}};
  return out;
}

TableShape source() {
  TableShape out;
  out.exists = true;
  out.columns = {{"a", "text", "text", false},
                 {"b", "integer", "integer", false},
                 {"c", "character varying(9)", "character varying", false}};
  out.key_index = {"b", "a"};
  return out;
}

TableShape target() {
  TableShape out = source();
  out.columns.push_back({"_millrace", "bytea", "bytea", false});
  out.columns.push_back({"more", "text", "text", false});
  return out;
}

sink::TableMapping mapping() {
  sink::TableMapping out;
  out.source_schema = out.target_schema = "public";
  out.source_table = out.target_table = "t";
  return out;
}

TEST_CASE("plan_table: the key goes in its index' order, and columns that nothing fills stay out") {
  const auto plan = plan_table(schema(), mapping(), source(), target(), Compared::rows);
  REQUIRE(plan);
  CHECK(plan->key_columns == std::vector<std::string>{"a", "b"});
  CHECK(plan->source.order == std::vector<size_t>{1, 0});
  CHECK(plan->columns == std::vector<std::string>{"a", "b", "c"});
  CHECK(plan_table(schema(), mapping(), source(), target(), Compared::keys)->columns.size() == 2);
}

TEST_CASE("plan_table: a value is written as the target's type writes it, and never cut") {
  TableShape other = target();
  other.columns[1] = {"b", "numeric(9,2)", "numeric", false};
  other.columns[2] = {"c", "character varying(3)", "character varying", false};
  const auto plan = plan_table(schema(), mapping(), source(), other, Compared::rows);
  REQUIRE(plan);
  CHECK(plan->source.columns[1] == "CAST(_millrace_row.\"b\"::text AS numeric(9,2))::text");
  CHECK(plan->source.columns[2] == "CAST(_millrace_row.\"c\"::text AS character varying)::text");
}

TEST_CASE("plan_table: a renamed key is followed, one that is computed is refused") {
  auto map = mapping();
  map.expressions = {{"k", "b"}};
  map.dropped = {"b"};
  TableShape other = target();
  other.columns[1].name = "k";
  const auto plan = plan_table(schema(), map, source(), other, Compared::rows);
  REQUIRE(plan);
  CHECK(plan->target.keys == std::vector<std::string>{"t.\"a\"", "t.\"k\""});
  map.expressions[0].sql = "b + 1";
  const auto refused = plan_table(schema(), map, source(), other, Compared::rows);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message().find("key column b") != std::string::npos);
}

TEST_CASE("plan_table: says what the target lacks") {
  TableShape other = target();
  other.columns.erase(other.columns.begin() + 2);
  CHECK(plan_table(schema(), mapping(), source(), other, Compared::rows).error().message() ==
        "the target has no column c");
  CHECK(plan_table(schema(), mapping(), source(), source(), Compared::rows)
            .error()
            .message()
            .find("_millrace") != std::string::npos);
  CHECK(plan_table(schema(), mapping(), source(), TableShape(), Compared::rows).error().message() ==
        "the target has no table public.t");
}

TEST_CASE("plan_table: drift asks of each column what state it is in, and of no key") {
  TableShape other = target();
  other.columns[2].fallback = "it's \\";
  const auto plan = plan_table(schema(), mapping(), source(), other, Compared::drift);
  REQUIRE(plan);
  CHECK(plan->columns == std::vector<std::string>{"c"});
  CHECK(plan->target.columns.front() ==
        "CASE WHEN num_nulls(t.\"c\") = 1 THEN 'null' WHEN t.\"c\"::text COLLATE \"C\" = "
        "E'it''s \\\\' THEN 'default' ELSE 'value' END");
  CHECK(plan->source.columns.front().find("num_nulls(_millrace_row.\"c\")") != std::string::npos);
}

TEST_CASE("plan_table: a table that is all key has no column that could drift") {
  TableSchema keys = schema();
  keys.columns.pop_back();
  const auto plan = plan_table(keys, mapping(), source(), target(), Compared::drift);
  REQUIRE(plan);
  CHECK(plan->columns == std::vector<std::string>{"a", "b"});
}

}  // namespace
}  // namespace millrace::chunk
