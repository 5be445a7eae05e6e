#include "relay/cli/repair_plan.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

namespace millrace::cli {
namespace {

using nlohmann::ordered_json;
using sink::KeyText;

std::vector<RepairableTable> tables() {
  return {{"public.t", {"a", "b"}, "0a", false}, {"public.plain", {}, "0b", false}};
}

ordered_json table(const char* name, const char* hash, int missing, int extra, int different) {
  return {{"table", name},
          {"missing", missing},
          {"extra", extra},
          {"different", different},
          {"mapping_hash", hash}};
}

ordered_json row(const char* kind, ordered_json key, const char* name = "public.t") {
  return {{"table", name}, {"key", std::move(key)}, {"kind", kind}, {"columns", {"v"}}};
}

// What `millrace verify` writes, as far as it matters; keys in another order than the table's.
ordered_json report() {
  ordered_json out = {{"pipeline", "shop"}, {"epoch", 1}};
  out["tables"] = {table("public.t", "0a", 1, 1, 1), table("public.plain", "0b", 0, 0, 0)};
  out["differences"] = {row("missing", {{"b", "2"}, {"a", "1"}}),
                        row("extra", {{"a", "3"}, {"b", ""}}),
                        row("different", {{"a", "5"}, {"b", "6"}})};
  out["rows_left_out"] = 0;
  return out;
}

RepairScope scope(std::vector<std::string> names = {}) {
  return {"shop", 1, std::move(names), false};
}

Result<std::vector<TableRepair>> read(const ordered_json& json,
                                      const RepairScope& asked = scope()) {
  return read_report(json.dump(), asked, tables());
}

void check_refused(const ordered_json& json, ErrorCode code, const std::string& why,
                   const RepairScope& asked = scope()) {
  const auto result = read(json, asked);
  REQUIRE_FALSE(result);
  CHECK(result.error().code() == code);
  CHECK_MESSAGE(result.error().message().find(why) != std::string::npos, result.error().describe());
  CHECK_FALSE(result.error().hint().empty());
}

TEST_CASE("read_report: keys get the table's order of columns, and stand once") {
  auto json = report();
  json["differences"].push_back(row("different", {{"a", "5"}, {"b", "6"}}));
  json["tables"][0]["different"] = 2;
  const auto result = read(json);
  REQUIRE(result);
  REQUIRE(result->size() == 1);
  const TableRepair& only = result->front();
  CHECK(only.table == "public.t");
  REQUIRE(only.keys.size() == 3);
  CHECK(only.keys[0].key == KeyText{"1", "2"});
  CHECK(only.keys[1].key == KeyText{"3", ""});
  CHECK(only.keys[1].kind == "extra");
}

TEST_CASE("read_report: another pipeline, epoch or mapping is refused, and what was cut short") {
  auto json = report();
  json["pipeline"] = "other";
  check_refused(json, ErrorCode::refused, "of pipeline other");
  for (const int epoch : {0, 2}) {
    json = report();
    json["epoch"] = epoch;
    check_refused(json, ErrorCode::refused, "epoch " + std::to_string(epoch));
  }
  for (const ordered_json& hash : {ordered_json("0c"), ordered_json(nullptr)}) {
    json = report();
    json["tables"][0]["mapping_hash"] = hash;
    check_refused(json, ErrorCode::refused, "maps public.t otherwise");
  }
  json = report();
  json["tables"][0]["missing"] = 7;
  check_refused(json, ErrorCode::refused, "3 of the 9 differences of public.t");
  json["tables"][0]["missing"] = 100'000;
  CHECK(read(json).error().hint().find("backfill start --replace") != std::string::npos);
  // The list holds rows of all tables: one of them may have none in it.
  json = report();
  json["tables"][0]["missing"] = json["tables"][0]["extra"] = json["tables"][0]["different"] = 0;
  check_refused(json, ErrorCode::config, "counts none");
}

TEST_CASE("read_report: only the tables that are asked for have to fit") {
  auto json = report();
  json["tables"][1]["extra"] = 1;
  check_refused(json, ErrorCode::config, "public.plain has no key");
  CHECK(read(json, scope({"public.t"})));
  check_refused(json, ErrorCode::config, "did not compare public.x", scope({"public.x"}));
  json = report();
  json["tables"].push_back(table("public.gone", "0a", 1, 0, 0));
  check_refused(json, ErrorCode::config, "`tables` has no public.gone");
  CHECK(read(json, scope({"public.t"})));
  json = report();
  json["tables"][0] = table("public.t", "0a", 0, 0, 0);
  json["differences"] = ordered_json::array();
  REQUIRE(read(json));
  CHECK(read(json)->empty());
}

TEST_CASE("read_report: a key that is not the table's") {
  for (const ordered_json& key :
       {ordered_json{{"a", "1"}}, ordered_json{{"a", "1"}, {"c", "2"}},
        ordered_json{{"a", "1"}, {"b", "2"}, {"c", "3"}}, ordered_json{{"a", 1}, {"b", "2"}},
        ordered_json{{"a", "1"}, {"b", nullptr}}, ordered_json::array({"1", "2"}),
        ordered_json(nullptr)}) {
    auto json = report();
    json["differences"][0]["key"] = key;
    check_refused(json, ErrorCode::config, "the key of public.t is (a, b)");
  }
  auto json = report();
  json["differences"][0]["key"]["a"] = std::string("1\0", 2);
  check_refused(json, ErrorCode::config, "NUL");
}

TEST_CASE("read_report: what is no report, cut at every length too") {
  const std::string whole = report().dump();
  for (size_t n = 0; n < whole.size(); ++n) {
    const auto result = read_report(std::string_view(whole).substr(0, n), scope(), tables());
    REQUIRE_FALSE(result);
    CHECK(result.error().code() == ErrorCode::config);
  }
  for (const char* name : {"pipeline", "epoch", "tables", "differences"}) {
    for (const ordered_json& value : {ordered_json(nullptr), ordered_json(-1.5),
                                      ordered_json::object(), ordered_json::array({1, "x"})}) {
      auto json = report();
      json[name] = value;
      check_refused(json, ErrorCode::config, "no report");
    }
  }
  auto json = report();
  json["differences"][0]["kind"] = "odd";
  check_refused(json, ErrorCode::config, "no kind");
  json = report();
  json["differences"][0]["table"] = "public.elsewhere";
  check_refused(json, ErrorCode::config, "no table in it");
}

TEST_CASE("repair_job: extra rows are in it only when their removal is asked for") {
  auto plan = read(report())->front();
  set_actions(plan, {}, false);
  CHECK(plan.keys[0].action == RepairAction::insert);
  CHECK(plan.keys[1].action == RepairAction::keep);
  CHECK(plan.keys[2].action == RepairAction::replace);
  auto job = repair_job(plan, false, "a@b");
  REQUIRE(job);
  CHECK(job->keys == std::vector<KeyText>{{"1", "2"}, {"5", "6"}});
  CHECK(job->kind == sink::JobKind::keys);
  CHECK(job->replace);
  CHECK_FALSE(job->delete_extra);
  CHECK(repair_journal(plan, *job) ==
        R"(repair of public.t: brings over 2 rows again: [["1","2"],["5","6"]])");

  const std::vector<KeyText> absent{{"3", ""}, {"5", "6"}};
  set_actions(plan, absent, true);
  CHECK(plan.keys[1].action == RepairAction::remove);
  CHECK(plan.keys[2].action == RepairAction::nothing);
  job = repair_job(plan, true, "a@b");
  CHECK(job->keys.size() == 3);
  CHECK(job->delete_extra);
  CHECK(repair_text({&plan, 1}, false) == "public.t: insert 1, delete 1, nothing 1\n");

  set_actions(plan, {}, true);
  CHECK(plan.keys[1].action == RepairAction::replace);
  plan.filtered = true;  // the source has it, and the mapping's `where` keeps it out
  set_actions(plan, {}, true);
  CHECK(plan.keys[1].action == RepairAction::remove);

  plan.keys = {plan.keys[1]};
  CHECK_FALSE(repair_job(plan, false, "a@b"));
}

TEST_CASE("repair_json: a key by its columns, and the report of the verify that followed") {
  auto plan = read(report())->front();
  set_actions(plan, {}, false);
  const auto json = ordered_json::parse(repair_json({&plan, 1}, false, R"({"outcome":"equal"})"));
  CHECK(json["tables"][0]["keys"][0]["key"] == ordered_json{{"a", "1"}, {"b", "2"}});
  CHECK(json["tables"][0]["keep"] == 1);
  CHECK(json["tables"][0]["job"].is_null());
  CHECK(json["verify"]["outcome"] == "equal");
}

}  // namespace
}  // namespace millrace::cli
