#include "relay/cli/verify_way_out.h"

#include <doctest/doctest.h>

namespace millrace::cli {
namespace {

chunk::TableReport table_of(const std::string& name, bool keyed, uint64_t different) {
  chunk::TableReport table;
  table.table = name;
  table.target_table = "dst." + name;
  table.keyed = keyed;
  table.different = different;
  return table;
}

chunk::RowReport row_of(const std::string& table, const std::string& id) {
  chunk::RowReport row;
  row.table = table;
  row.key = {{"id", id}};
  row.kind = "different";
  return row;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("verify_way_out: rows with a key are repaired, by the report that was written") {
  chunk::VerifyReport report;
  report.tables = {table_of("public.t", true, 1), table_of("public.equal", false, 0)};
  CHECK(verify_way_out(report, {}, {}, "") ==
        "`millrace verify --report FILE` keeps the list, and `millrace repair --report FILE` "
        "brings these rows over again");
  report.tables[0].extra = 1;
  CHECK(verify_way_out(report, {}, {}, "my report.json") ==
        "`millrace repair --report 'my report.json'` brings these rows over again, and deletes "
        "extra ones only with --delete-extra");
}

TEST_CASE("verify_way_out: a repair that would be refused is not recommended") {
  chunk::VerifyReport report;
  report.tables = {table_of("public.t", true, 3000)};
  report.rows_left_out = 2000;
  CHECK(verify_way_out(report, {}, {}, "f") ==
        "`millrace verify --list 10000 --report FILE` lists them all, and `millrace repair "
        "--report FILE` brings these rows over again");
  report.tables = {table_of("public.t", true, 19'999)};
  const std::string out = verify_way_out(report, {}, {}, "f");
  CHECK(contains(out, "`millrace backfill start --replace --table public.t` brings"));
  CHECK_FALSE(contains(out, "repair --report"));
}

TEST_CASE("verify_way_out: a table without a key is copied by hand, not repaired") {
  chunk::VerifyReport report;
  report.tables = {table_of("public.k", false, 1)};
  const std::string out = verify_way_out(report, {}, {}, "f");
  CHECK(contains(out, "public.k has no key, so `millrace repair` can not mend it"));
  CHECK(contains(out, "TRUNCATE dst.public.k in the target"));
  CHECK_FALSE(contains(out, "repair --report"));
}

TEST_CASE("verify_way_out: parked rows are retried; what else differs is repaired") {
  chunk::VerifyReport report;
  report.tables = {table_of("public.t", true, 2)};
  report.rows = {row_of("public.t", "1"), row_of("public.t", "2")};
  const ParkedRows one{{"public.t", "(id)=(2)"}, {"public.u", "(id)=(1)"}};
  CHECK(verify_way_out(report, {}, one, "f") ==
        "1 of the rows are parked, and repair can not bring them over: `millrace letters list` "
        "says why; mend that, and `millrace letters retry --all`; `millrace repair --report f` "
        "brings the others over again");
  const ParkedRows both{{"public.t", "(id)=(1)"}, {"public.t", "(id)=(2)"}};
  CHECK_FALSE(contains(verify_way_out(report, {}, both, "f"), "repair --report"));
}

TEST_CASE("verify_way_out: an invariant is no matter of repair") {
  CHECK(verify_way_out({}, {{"i", false, 3, ""}}, {}, "") ==
        "stdout shows rows that speak against an invariant");
}

}  // namespace millrace::cli
