#include "relay/source/publication.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace millrace::source;

namespace {

const std::vector<TableName> kTwo{{"public", "a"}, {"odd \"s\"", "b"}};

Publication whole() {
  Publication publication;
  publication.name = "pub";
  publication.inserts = publication.updates = publication.deletes = publication.truncates = true;
  publication.via_partition_root = true;
  return publication;
}

}  // namespace

TEST_CASE(
    "create_publication_sql: quotes names, leaves children out, publishes partitions by root") {
  CHECK(
      create_publication_sql("p\"q", kTwo) ==
      "CREATE PUBLICATION \"p\"\"q\" FOR TABLE ONLY \"public\".\"a\", ONLY \"odd \"\"s\"\"\".\"b\" "
      "WITH (publish_via_partition_root = true)");
  CHECK(create_publication_sql("p", {}) ==
        "CREATE PUBLICATION \"p\" WITH (publish_via_partition_root = true)");
  CHECK(drop_publication_sql("p") == "DROP PUBLICATION IF EXISTS \"p\"");
}

TEST_CASE("alter_publication_sql: nothing to do") {
  Publication publication = whole();
  publication.listed = kTwo;
  CHECK(alter_publication_sql(publication, kTwo, true).empty());
  publication.listed.clear();
  publication.tables = {{kTwo[0], "", {}}, {kTwo[1], "", {}}};  // through TABLES IN SCHEMA
  CHECK(alter_publication_sql(publication, kTwo, true).empty());
  publication.tables.clear();
  publication.all_tables = true;
  CHECK(alter_publication_sql(publication, kTwo, true).empty());
}

TEST_CASE(
    "Publication: publishes what is listed, what a schema or ALL TABLES brings, and no more") {
  Publication publication = whole();
  CHECK_FALSE(publication.publishes(kTwo[0]));
  publication.listed = {kTwo[0]};
  CHECK(publication.publishes(kTwo[0]));
  CHECK_FALSE(publication.publishes(kTwo[1]));
  publication.tables = {{kTwo[1], "", {}}};
  CHECK(publication.publishes(kTwo[1]));
  CHECK_FALSE(publication.publishes({"public", "never"}));
  publication.all_tables = true;
  CHECK(publication.publishes({"public", "never"}));
}

TEST_CASE("alter_publication_sql: options first, then what is missing, then what is too much") {
  Publication publication = whole();
  publication.deletes = false;
  publication.listed = {kTwo[0], {"public", "old"}};
  const auto sql = alter_publication_sql(publication, kTwo, true);
  REQUIRE(sql.size() == 3);
  CHECK(sql[0] ==
        "ALTER PUBLICATION \"pub\" SET (publish = 'insert, update, delete, truncate', "
        "publish_via_partition_root = true)");
  CHECK(sql[1] == "ALTER PUBLICATION \"pub\" ADD TABLE ONLY \"odd \"\"s\"\"\".\"b\"");
  CHECK(sql[2] == "ALTER PUBLICATION \"pub\" DROP TABLE ONLY \"public\".\"old\"");
  CHECK(alter_publication_sql(publication, kTwo, false).size() == 2);
}

TEST_CASE("display_name: quoted where SQL needs it") {
  CHECK(display_name(TableName{"public", "Odd"}) == "public.\"Odd\"");
  CHECK(quoted_name(TableName{"public", "a"}) == "\"public\".\"a\"");
}
