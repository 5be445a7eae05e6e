#include "relay/transform/table_route.h"

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::transform;

namespace {

TableRouter router(std::vector<TableRule> rules) {
  return TableRouter({"shop", "{pipeline}.{schema}.{table}", "shop.manifest", std::move(rules)});
}

TableRule exact(TableId source, TableId target) { return {false, source, target}; }
TableRule exact(const TableId& source) { return exact(source, source); }
TableRule pattern(TableId globs) { return {true, std::move(globs), {}}; }

}  // namespace

TEST_CASE("glob_matches") {
  CHECK(glob_matches("orders_*", "orders_2024"));
  CHECK(glob_matches("orders_*", "orders_"));
  CHECK(glob_matches("*", ""));
  CHECK(glob_matches("a*b*c", "aXbXbc"));
  CHECK(glob_matches("a?c", "abc"));
  CHECK_FALSE(glob_matches("a?c", "ac"));
  CHECK_FALSE(glob_matches("orders_*", "order_2024"));
  CHECK_FALSE(glob_matches("", "a"));
  CHECK_FALSE(glob_matches("a*b*c", "aXbXb"));
}

TEST_CASE("glob_matches: many stars stay quick") {
  std::string glob;
  for (int i = 0; i < 30; ++i) glob += "a*";
  CHECK_FALSE(glob_matches(glob + "b", std::string(63, 'a')));
}

TEST_CASE("TableRouter: exact before pattern, the first pattern first") {
  const auto r = router({pattern({"public", "orders_*"}), pattern({"public", "*"}),
                         exact({"public", "orders_old"}, {"archive", "orders"})});
  const auto old = r.route("public", "orders_old");
  REQUIRE(old.has_value());
  CHECK(old->rule == 2);
  CHECK(old->target == TableId{"archive", "orders"});
  CHECK(old->topic == "shop.public.orders_old");
  CHECK(r.route("public", "orders_1")->rule == 0);
  CHECK(r.route("public", "other")->rule == 1);
  CHECK(r.route("public", "other")->target == TableId{"public", "other"});
  CHECK_FALSE(r.route("private", "other").has_value());
}

TEST_CASE("TableRouter: patterns leave catalogs and metadata alone, exact names need not") {
  const auto all = router({pattern({"*", "*"})});
  CHECK_FALSE(all.route("pg_catalog", "pg_class").has_value());
  CHECK_FALSE(all.route("information_schema", "tables").has_value());
  CHECK_FALSE(all.route("millrace", "applied").has_value());
  CHECK(all.route("public", "pg_like").has_value());
}

TEST_CASE("TableRouter::select: refuses two tables in one target") {
  const auto r = router({pattern({"public", "*"}), exact({"public", "a"}, {"public", "b"})});
  const std::vector<TableId> tables{{"public", "a"}, {"public", "b"}};
  const auto routes = r.select(tables);
  REQUIRE_FALSE(routes.has_value());
  CHECK(routes.error().code() == ErrorCode::config);
  CHECK(routes.error().message() == "public.b and public.a both land in public.b");
}

TEST_CASE("TableRouter::select: refuses topics that a broker takes for one") {
  const auto r = router({pattern({"*", "*"})});
  const std::vector<TableId> tables{{"public", "a_b"}, {"public_a", "b"}};
  const auto routes = r.select(tables);
  REQUIRE_FALSE(routes.has_value());
  CHECK(routes.error().message().find("would share the topic shop.public_a.b") !=
        std::string::npos);
}

TEST_CASE("TableRouter::select: refuses the manifest topic") {
  const TableRouter r({"shop", "{pipeline}.{schema}.{table}", "shop.a.b", {exact({"a", "b"})}});
  const std::vector<TableId> tables{{"a", "b"}};
  CHECK_FALSE(r.select(tables).has_value());
}

TEST_CASE("TableRouter::select and unmatched: only what is ours, and what nothing matches") {
  const auto r = router({exact({"public", "a"}), exact({"public", "gone"}), pattern({"x", "*"})});
  const std::vector<TableId> tables{{"public", "a"}, {"public", "other"}};
  const auto routes = r.select(tables);
  REQUIRE(routes.has_value());
  REQUIRE(routes->size() == 1);
  CHECK(routes->front().source == TableId{"public", "a"});
  const auto unmatched = r.unmatched(tables);
  REQUIRE(unmatched.size() == 2);
  CHECK(to_string(unmatched[0].source) == "public.gone");
  CHECK(unmatched[1].pattern);
}
