#include "relay/config/table_name.h"

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::config;

namespace {

std::string parsed(std::string_view text) {
  const auto name = parse_table_name(text);
  return name ? name->schema + "|" + name->name : "error: " + name.error().message();
}

}  // namespace

TEST_CASE("parse_table_name: as SQL writes it") {
  CHECK(parsed("public.customers") == "public|customers");
  CHECK(parsed("customers") == "public|customers");
  CHECK(parsed("Public.CusTomers") == "public|customers");
  CHECK(parsed("public.\"Odd Name\"") == "public|Odd Name");
  CHECK(parsed("\"a.b\".\"c\"\"d\"") == "a.b|c\"d");
  CHECK(parsed("_a.b$1") == "_a|b$1");
  CHECK(parsed("größe.x") == "größe|x");
}

TEST_CASE("parse_table_name: malformed names") {
  CHECK(parsed("") == "error: a part of the name is empty");
  CHECK(parsed("a.") == "error: a part of the name is empty");
  CHECK(parsed(".a") == "error: a part of the name is empty");
  CHECK(parsed("\"\".a") == "error: a part of the name is empty");
  CHECK(parsed("a.b.c") == "error: a name has at most two parts, schema.table");
  CHECK(parsed("\"a") == "error: a double quote is not closed");
  CHECK(parsed("\"a\"\"") == "error: a double quote is not closed");
  CHECK(parsed("odd name") == "error: a name with spaces or signs needs double quotes, as in SQL");
  CHECK(parsed("a-b") == "error: a name with spaces or signs needs double quotes, as in SQL");
  CHECK(parsed("1a") == "error: a name that starts with a digit or $ needs double quotes");
  CHECK(parsed("a*") == "error: a wildcard needs `- pattern: …`");
  CHECK(parsed(std::string(64, 'a')) == "error: a part of the name is longer than 63 bytes");
  CHECK(parsed(std::string(63, 'a')) == "public|" + std::string(63, 'a'));
}

TEST_CASE("to_string: what parse_table_name reads back") {
  for (const TableName& name : {TableName{"public", "a"}, TableName{"Odd", "na\"me"},
                                TableName{"a.b", " "}, TableName{"1", "ä"}}) {
    const auto back = parse_table_name(to_string(name));
    REQUIRE(back.has_value());
    CHECK(*back == name);
  }
}

TEST_CASE("parse_table_pattern: wildcards inside parts") {
  const auto pattern = parse_table_pattern("public.Orders_*");
  REQUIRE(pattern.has_value());
  CHECK(*pattern == TableName{"public", "orders_*"});
  CHECK(parse_table_pattern("*.*").has_value());
  CHECK(parse_table_pattern("\"Odd *\"").value() == TableName{"public", "Odd *"});
  CHECK_FALSE(parse_table_pattern("a.*.b").has_value());
}
