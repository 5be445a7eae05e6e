#include "relay/event/table_schema.h"

#include <functional>
#include <set>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

namespace millrace::test {
namespace {

TableSchema accounts() {
  TableSchema schema;
  schema.relation_oid = 16385;
  schema.schema = "public";
  schema.name = "accounts";
  schema.columns = {{"id", 20, -1, "", "", true}, {"mood", 16400, 5, "app", "mood", false}};
  return schema;
}

}  // namespace

TEST_CASE("seal_schema: the fingerprint is persisted, so its value is fixed") {
  CHECK(fmt::format("{:016x}", seal_schema(TableSchema())->fingerprint) == "bd83fab03a75dd64");
  CHECK(fmt::format("{:016x}", seal_schema(accounts())->fingerprint) == "ef7db8266095e48e");
}

TEST_CASE("seal_schema: every field but the OID changes the fingerprint") {
  const std::vector<std::function<void(TableSchema&)>> edits{
      [](TableSchema& s) { s.schema = "other"; },
      [](TableSchema& s) { s.name = "account"; },
      [](TableSchema& s) { s.identity = ReplicaIdentity::full; },
      [](TableSchema& s) { s.columns.pop_back(); },
      [](TableSchema& s) { std::swap(s.columns[0], s.columns[1]); },
      [](TableSchema& s) { s.columns[0].name = "id2"; },
      [](TableSchema& s) { s.columns[0].type_oid = 23; },
      [](TableSchema& s) { s.columns[0].type_modifier = 0; },
      [](TableSchema& s) { s.columns[1].type_schema = "public"; },
      [](TableSchema& s) { s.columns[1].type_name = "moods"; },
      [](TableSchema& s) { s.columns[1].in_key = true; },
      // Bytes that move over a border between two fields.
      [](TableSchema& s) { s.schema = "publi", s.name = "caccounts"; },
      [](TableSchema& s) { s.columns[1].type_schema = "appm", s.columns[1].type_name = "ood"; },
  };
  std::set<uint64_t> seen{seal_schema(accounts())->fingerprint};
  for (const auto& edit : edits) {
    TableSchema schema = accounts();
    edit(schema);
    seen.insert(seal_schema(std::move(schema))->fingerprint);
  }
  CHECK(seen.size() == edits.size() + 1);
  TableSchema recreated = accounts();
  recreated.relation_oid = 99;
  CHECK(seal_schema(recreated)->fingerprint == seal_schema(accounts())->fingerprint);
}

TEST_CASE("has_key: one column is enough") {
  TableSchema schema = accounts();
  CHECK(schema.has_key());
  schema.columns[0].in_key = false;
  CHECK(!schema.has_key());
  CHECK(!TableSchema().has_key());
}

TEST_CASE("quote_identifier: doubles quotes and touches nothing else") {
  CHECK(quote_identifier("plain") == "\"plain\"");
  CHECK(quote_identifier("") == "\"\"");
  CHECK(quote_identifier("\"; drop table t; --") == "\"\"\"; drop table t; --\"");
  CHECK(quote_identifier("\"\"") == "\"\"\"\"\"\"");
  CHECK(quote_identifier("a\\b'c") == "\"a\\b'c\"");
}

TEST_CASE("quote_if_needed: bare only where SQL reads it back as the same name") {
  for (const char* bare : {"a", "accounts", "_x", "t1", "a_b_2"})
    CHECK(quote_if_needed(bare) == bare);
  for (const char* odd : {"", "Accounts", "1t", "a-b", "a b", "a.b", "\xC3\xBC", "a\"b", "a$b"}) {
    CAPTURE(odd);
    CHECK(quote_if_needed(odd) == quote_identifier(odd));
  }
  TableSchema schema = accounts();
  schema.name = "Odd name";
  CHECK(display_name(schema) == "public.\"Odd name\"");
}

}  // namespace millrace::test
