// The SQL for schema changes, for a binding made by hand; that Postgres agrees is
// tests/integration/target's business.
#include "connectors/postgres/schema_change.h"

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::postgres;

namespace {

// A source column, and a target column of the same name unless it is missing there.
void add(Binding& binding, const char* name, const char* type, bool missing = false) {
  Column column;
  column.name = name;
  column.in_key = binding.source.columns.empty();
  const size_t at = binding.source.columns.size();
  binding.source.columns.push_back(column);
  binding.types.push_back({true, 0, type, type});
  if (missing) {
    binding.missing.push_back({at});
    return;
  }
  Output output;
  output.column = name;
  output.source = static_cast<int>(at);
  output.base_type = output.full_type = type;
  output.key = column.in_key;
  binding.outputs.push_back(output);
  CatalogColumn target;
  target.name = name;
  target.full_type = type;
  binding.target.columns.push_back(target);
}

// In the target alone.
CatalogColumn& leave(Binding& binding, const char* name, const char* type) {
  CatalogColumn target;
  target.name = name;
  target.full_type = type;
  return binding.target.columns.emplace_back(target);
}

Binding table() {
  Binding binding;
  binding.exists = true;
  binding.mapping.target_schema = "s";
  binding.mapping.target_table = "t\"";
  add(binding, "id", "bigint");
  add(binding, "v", "text");
  return binding;
}

}  // namespace

TEST_CASE("add_columns_sql: nothing is missing") { CHECK(add_columns_sql(table()) == ""); }

TEST_CASE("add_columns_sql: all new columns in one statement, quoted, with their types") {
  Binding binding = table();
  add(binding, "a", "numeric(12,2)", true);
  add(binding, "Odd \"b", "public.mood[]", true);
  leave(binding, "_millrace", "numeric(12,2)");
  CHECK(add_columns_sql(binding) ==
        "ALTER TABLE \"s\".\"t\"\"\" ADD COLUMN IF NOT EXISTS \"a\" numeric(12,2), ADD COLUMN IF "
        "NOT EXISTS \"Odd \"\"b\" public.mood[]");
}

TEST_CASE("add_columns_sql: a column before one that is there is an old one, renamed") {
  Binding binding = table();
  add(binding, "a", "int", true);
  add(binding, "b", "int");
  CHECK(add_columns_sql(binding) == "");
}

TEST_CASE("add_columns_sql: an idle column of the same type may be the same, renamed") {
  Binding binding = table();
  add(binding, "a", "integer", true);
  CatalogColumn& old = leave(binding, "was_a", "integer");
  CHECK(add_columns_sql(binding) == "");
  find_missing_columns(binding);
  REQUIRE(binding.findings.size() == 1);
  CHECK(binding.findings[0].hint().find("RENAME COLUMN \"was_a\" TO \"a\"") != std::string::npos);
  CHECK(binding.findings[0].hint().find("ADD COLUMN \"a\" integer") != std::string::npos);
  SUBCASE("another type") { old.full_type = "text"; }
  SUBCASE("it fills itself") { old.has_default = true; }
  SUBCASE("it is generated") { old.generated = true; }
  SUBCASE("it is an identity") { old.identity = 'd'; }
  CHECK((add_columns_sql(binding) != "") ==
        (old.full_type == "text" || old.has_default || old.generated || old.identity != 0));
}

TEST_CASE(
    "add_columns_sql: never a key, a type that is not known, or what the mapping computes with") {
  Binding binding = table();
  add(binding, "a", "integer", true);
  REQUIRE(add_columns_sql(binding) != "");
  SUBCASE("key") { binding.source.columns[2].in_key = true; }
  SUBCASE("type") { binding.types[2].known = false; }
  SUBCASE("mapped") { binding.expression_needs = {{false, false, true}}; }
  SUBCASE("no table") { binding.exists = false; }
  SUBCASE("one of two") {
    add(binding, "b", "integer", true);
    binding.types[3].known = false;
  }
  CHECK(add_columns_sql(binding) == "");
}

TEST_CASE("find_missing_columns: a type that the target lacks is named") {
  Binding binding = table();
  add(binding, "a", "text", true);
  binding.types[2].known = false;
  binding.source.columns[2].type_schema = "public";
  binding.source.columns[2].type_name = "Odd";
  find_missing_columns(binding);
  REQUIRE(binding.findings.size() == 1);
  CHECK(binding.missing[0].finding == 0);
  CHECK(binding.findings[0].hint().find("create the type public.\"Odd\"") != std::string::npos);
}

TEST_CASE("mending_sql: by what the target said") {
  Binding binding = table();
  binding.outputs[1].base_type = "public.mood";
  CHECK(mending_sql(binding, "23502", "v", "null value …") ==
        "ALTER TABLE \"s\".\"t\"\"\" ALTER COLUMN \"v\" DROP NOT NULL");
  CHECK(mending_sql(binding, "22P02", "", "invalid input value for enum public.mood: \"…\"") ==
        "ALTER TYPE public.mood ADD VALUE '…', as at the source (column v)");
  CHECK(mending_sql(binding, "22003", "", "out of range") == "");
  binding.outputs[1].full_type = "character varying(3)";
  CHECK(mending_sql(binding, "22001", "", "value too long") ==
        "column v is text at the source and character varying(3) here: ALTER TABLE "
        "\"s\".\"t\"\"\" ALTER COLUMN \"v\" TYPE text");
  CHECK(mending_sql(binding, "23514", "", "violates check") == "");
  binding.types[1].known = false;
  CHECK(mending_sql(binding, "22001", "", "value too long") == "");
}
