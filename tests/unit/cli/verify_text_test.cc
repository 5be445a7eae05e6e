#include "relay/cli/verify_text.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

namespace millrace::cli {
namespace {

chunk::VerifyReport sample() {
  chunk::VerifyReport report;
  report.from = Lsn{0x100};
  report.to = Lsn{0x200};
  report.epoch = 2;
  chunk::TableReport table;
  table.table = table.target_table = "public.t";
  table.compared = 3;
  table.equal = 2;
  report.tables.push_back(table);
  return report;
}

chunk::RowReport different() {
  chunk::RowReport row;
  row.table = "public.t";
  row.key = {{"b", "2\x1b[31m"}, {"a", "1"}};
  row.kind = "different";
  row.columns = {"v"};
  row.source = {std::nullopt};
  row.target = {""};
  return row;
}

TEST_CASE("verify outcome: a difference is said before what is undecided") {
  auto report = sample();
  CHECK(outcome(report, {}) == VerifyOutcome::equal);
  report.tables[0].unresolved = 1;
  CHECK(outcome(report, {}) == VerifyOutcome::undecided);
  CHECK(verify_summary(report, {}) == "1 rows of public.t kept changing");
  CHECK(outcome(report, {{"i", false, 3, ""}}) == VerifyOutcome::different);
  CHECK(verify_summary(report, {{"i", false, 3, ""}}) == "invariant i is violated");
  report.tables[0].extra = 1;
  CHECK(outcome(report, {}) == VerifyOutcome::different);
  CHECK(verify_summary(report, {}) == "1 rows of public.t differ");
  report.tables[0] = {};
  report.tables[0].why = "no";
  CHECK(outcome(report, {}) == VerifyOutcome::undecided);
  CHECK(outcome(sample(), {{"i", false, 0, "no such table"}}) == VerifyOutcome::undecided);
}

TEST_CASE("verify_json: keys keep their order, NULL and an empty text are told apart") {
  auto report = sample();
  report.rows.push_back(different());
  report.tables[0].different = 1;
  VerifyHead head;
  head.pipeline = "shop";
  head.timeline = 1;
  const auto json = nlohmann::ordered_json::parse(verify_json(head, report, {}));
  CHECK(json["outcome"] == "different");
  CHECK(json["position"] == "1:0/200");
  CHECK(json["position_from"] == "1:0/100");
  CHECK(json["seed"].is_null());
  const auto& row = json["differences"][0];
  CHECK(row["key"].begin().key() == "b");
  CHECK(row["values"]["v"]["source"].is_null());
  CHECK(row["values"]["v"]["target"] == "");
}

TEST_CASE("verify_text: no control character reaches the terminal") {
  auto report = sample();
  report.rows.push_back(different());
  const std::string text = verify_text({}, report, {});
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find("different public.t (b, a)=(2 [31m, 1): v NULL | ") != std::string::npos);
}

}  // namespace
}  // namespace millrace::cli
