// The catalog and its checks against a real Postgres.
#include "tests/integration/source/source_fixture.h"

namespace t = millrace::testing;
using namespace millrace;
using namespace millrace::source;
using namespace millrace::testing;

TEST_CASE(
    "Catalog: a publication is created, completed and dropped; rows of partitions come by the "
    "root") {
  Source source;
  source.run_each({"CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY)",
                   "CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id)",
                   "CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (10)",
                   "CREATE PUBLICATION pub FOR TABLE a WITH (publish = 'insert')"});
  Catalog catalog(source.options);
  const std::vector<TableName> wanted{{"public", "b"}, {"public", "root"}};
  std::string printed;
  must(catalog.ensure_publication("pub", wanted, true, &printed));
  CHECK(printed ==
        "ALTER PUBLICATION \"pub\" SET (publish = 'insert, update, delete, truncate', "
        "publish_via_partition_root = true);\n"
        "ALTER PUBLICATION \"pub\" ADD TABLE ONLY \"public\".\"b\", ONLY \"public\".\"root\";\n"
        "ALTER PUBLICATION \"pub\" DROP TABLE ONLY \"public\".\"a\";\n");
  CHECK(must(catalog.publication("pub"))->tables.size() == 1);
  must(catalog.ensure_publication("pub", wanted, true, nullptr));
  auto publication = must(catalog.publication("pub"));
  REQUIRE(publication);
  CHECK(publication->publishes_every_kind());
  CHECK(publication->via_partition_root);
  CHECK(publication->listed == wanted);
  printed.clear();
  must(catalog.ensure_publication("pub", wanted, true, &printed));
  CHECK(printed.empty());

  Replication replication(source.options);
  must(replication.connect());
  must(replication.create_slot());
  must(replication.start(Lsn{}));
  Reader reader(source);
  source.run_each({"CREATE TABLE later PARTITION OF root FOR VALUES FROM (10) TO (20)",
                   "INSERT INTO root VALUES (1)", "INSERT INTO later VALUES (11)",
                   "UPDATE root SET id = 12 WHERE id = 1"});
  reader.read(replication, 3);
  CHECK(joined(reader.take()) ==
        "begin\ninsert public.root 0 after ('1')\ncommit\n"
        "begin\ninsert public.root 0 after ('11')\ncommit\n"
        "begin\ndelete public.root 0 before ('1')\ninsert public.root 1 after ('12')\ncommit\n");
  replication.stop();
  must(catalog.drop_publication("pub"));
  CHECK_FALSE(must(catalog.publication("pub")));
}

TEST_CASE(
    "check_source: every blocker at once, for a role with few rights, and none for the owner") {
  Source source;
  source.run_each({
      "CREATE TABLE fine (id int PRIMARY KEY)",
      "CREATE TABLE bare (v int)",
      "CREATE TABLE lost_index (id int NOT NULL UNIQUE)",
      "ALTER TABLE lost_index REPLICA IDENTITY USING INDEX lost_index_id_key",
      "ALTER TABLE lost_index DROP CONSTRAINT lost_index_id_key",
      "CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY)",
      "CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id)",
      "CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (10)",
      "ALTER TABLE leaf REPLICA IDENTITY NOTHING",
      "CREATE VIEW seen AS SELECT 1 AS one",
  });
  Catalog owner(source.options);
  const std::vector<TableSelector> good{{{"public", "fine"}, false}, {{"public", "bare"}, false}};
  auto findings = must(check_source(owner, source.options, good));
  CAPTURE(all(findings));
  CHECK(std::none_of(findings.begin(), findings.end(), [](const Finding& f) { return f.blocker; }));
  CHECK(has_finding(findings, false, "bare has no replica identity"));
  CHECK(has_finding(findings, false, "CREATE PUBLICATION \"pub\" FOR TABLE"));

  source.run_each({"CREATE ROLE weak LOGIN"});
  Options weak = source.options;
  weak.dsn += " user=weak";
  Catalog weak_catalog(weak);
  const std::vector<TableSelector> bad{
      {{"public", "fine"}, false},     {{"public", "lost_index"}, false},
      {{"public", "unlogged"}, false}, {{"public", "root"}, false},
      {{"public", "leaf"}, false},     {{"public", "seen"}, false},
      {{"public", "absent"}, false},   {{"public", "none_*"}, true},
  };
  source.run_each({fmt::format("SELECT pg_create_logical_replication_slot('{}', 'test_decoding')",
                               source.options.slot)});
  findings = must(check_source(weak_catalog, weak, bad));
  CAPTURE(all(findings));
  CHECK(has_finding(findings, true, "role weak lacks REPLICATION; ALTER ROLE weak REPLICATION"));
  CHECK(has_finding(findings, true, "is of plugin test_decoding"));
  CHECK(has_finding(findings, true,
                    "table public.fine: role weak may not read it; GRANT USAGE ON SCHEMA public TO "
                    "weak; GRANT SELECT ON public.fine TO weak"));
  CHECK(has_finding(findings, true, "lost_index: the index of its REPLICA IDENTITY is gone"));
  CHECK(has_finding(findings, true, "public.unlogged is not logged"));
  CHECK(has_finding(findings, true, "REPLICA IDENTITY of partition public.leaf"));
  CHECK(has_finding(findings, true, "public.leaf is named beside its root public.root"));
  CHECK(has_finding(findings, true, "public.seen is a view"));
  CHECK(has_finding(findings, true, "table public.absent does not exist"));
  CHECK(has_finding(findings, false, "pattern public.none_* matches no table"));
  CHECK(has_finding(findings, true, "publication pub does not exist; let the tables' owner run"));
  const std::vector<TableName> fine{{"public", "fine"}};
  const auto refused = weak_catalog.ensure_publication("pub", fine, false, nullptr);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().hint().find(
            "CREATE PUBLICATION \"pub\" FOR TABLE ONLY \"public\".\"fine\"") != std::string::npos);
  source.run_each({"DROP ROLE weak"});
}

TEST_CASE("Catalog: tables have the schema that the stream will give them") {
  Source source;
  source.run_each({
      "CREATE TYPE mood AS ENUM ('sad')",
      "CREATE DOMAIN moody AS mood",
      "CREATE DOMAIN cents AS int",
      "CREATE TABLE plain (b numeric(10, 2), gone int, id int, m mood, mm mood[], d moody, c "
      "cents, "
      "n varchar(7), twice int GENERATED ALWAYS AS (id * 2) STORED, PRIMARY KEY (id, b) INCLUDE "
      "(n))",
      "ALTER TABLE plain DROP gone",
      "CREATE TABLE by_index (id int PRIMARY KEY, u int NOT NULL UNIQUE)",
      "ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_u_key",
      "CREATE TABLE full_keyed (id int PRIMARY KEY, v int)",
      "ALTER TABLE full_keyed REPLICA IDENTITY FULL",
      "CREATE TABLE full_bare (v int)",
      "ALTER TABLE full_bare REPLICA IDENTITY FULL",
      "CREATE TABLE nothing (id int PRIMARY KEY)",
      "ALTER TABLE nothing REPLICA IDENTITY NOTHING",
      "CREATE TABLE late (id int PRIMARY KEY DEFERRABLE)",
      "CREATE TABLE parted (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST "
      "(region)",
      "CREATE TABLE parted_eu PARTITION OF parted FOR VALUES IN ('eu')",
      "CREATE TABLE parted_us PARTITION OF parted FOR VALUES IN ('us')",
  });
  Catalog catalog(source.options);
  const std::vector<TableSelector> everything{{{"public", "*"}, true}};
  const Selection selection = must(catalog.tables(everything));
  std::vector<TableName> names;
  for (const SourceTable& table : selection.tables) names.push_back(table.name());
  CHECK(names == std::vector<TableName>{{"public", "by_index"},
                                        {"public", "full_bare"},
                                        {"public", "full_keyed"},
                                        {"public", "late"},
                                        {"public", "nothing"},
                                        {"public", "parted"},
                                        {"public", "plain"}});
  must(catalog.ensure_publication("pub", names, false, nullptr));
  CHECK(must(catalog.primary_key("public", "plain")) == std::vector<std::string>{"id", "b"});
  CHECK(must(catalog.primary_key("public", "late")).empty());
  CHECK(must(catalog.primary_key("public", "parted")) == std::vector<std::string>{"id", "region"});

  Replication replication(source.options);
  must(replication.connect());
  must(replication.create_slot());
  must(replication.start(Lsn{}));
  Reader reader(source);
  source.run_each({"BEGIN", "INSERT INTO plain VALUES (1.5, 1, 'sad', '{sad}', 'sad', 3, 'n')",
                   "INSERT INTO by_index VALUES (1, 2)", "INSERT INTO full_keyed VALUES (1, 2)",
                   "INSERT INTO full_bare VALUES (1)", "INSERT INTO nothing VALUES (1)",
                   "INSERT INTO late VALUES (1)", "INSERT INTO parted VALUES (1, 'eu')", "COMMIT"});
  reader.read(replication, 1);
  REQUIRE(reader.recorder.tables.size() == 7);
  for (const TableSchemaPtr& streamed : reader.recorder.tables) {
    const auto found = std::find_if(
        selection.tables.begin(), selection.tables.end(), [&](const SourceTable& table) {
          return table.schema->schema == streamed->schema && table.schema->name == streamed->name;
        });
    REQUIRE(found != selection.tables.end());
    CHECK(t::render(*found->schema) == t::render(*streamed));
    CHECK(found->schema->fingerprint == streamed->fingerprint);
    CHECK(found->schema->relation_oid == streamed->relation_oid);
  }
  save("tables", reader.captured);
}

TEST_CASE("Catalog: patterns, exact names and what is missing") {
  Source source;
  source.run_each(
      {"CREATE TABLE orders_1 (id int PRIMARY KEY)", "CREATE TABLE ordersx2 (id int PRIMARY KEY)",
       "CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id)",
       "CREATE TABLE leaf PARTITION OF root DEFAULT", "CREATE VIEW seen AS SELECT 1 AS one"});
  Catalog catalog(source.options);
  std::vector<TableSelector> selectors{{{"public", "orders_*"}, true},
                                       {{"public", "orders_1"}, false},
                                       {{"public", "le?f"}, true},
                                       {{"public", "seen"}, false},
                                       {{"public", "absent"}, false}};
  Selection selection = must(catalog.tables(selectors));
  REQUIRE(selection.tables.size() == 3);
  CHECK(selection.tables[0].name().name == "leaf");
  CHECK(selection.tables[0].ancestors == std::vector<TableName>{{"public", "root"}});
  CHECK(selection.tables[1].name().name == "orders_1");
  CHECK(selection.tables[2].kind == 'v');
  REQUIRE(selection.missing.size() == 1);
  CHECK(selection.missing[0].name.name == "absent");
}

TEST_CASE("Catalog: slots are described and dropped, but not under a reader") {
  Source source;
  source.run_each({"CREATE TABLE a (id int PRIMARY KEY)", "CREATE PUBLICATION pub FOR TABLE a"});
  Catalog catalog(source.options);
  CHECK_FALSE(must(catalog.slot(source.options.slot)));
  Replication replication(source.options);
  must(replication.connect());
  const Lsn point = must(replication.create_slot());
  auto slot = must(catalog.slot(source.options.slot));
  REQUIRE(slot);
  CHECK(slot->plugin == "pgoutput");
  CHECK(slot->database == must(catalog.server()).database);
  CHECK(slot->confirmed_flush_lsn == point);
  CHECK_FALSE(slot->active);
  CHECK_FALSE(slot->is_temporary);
  CHECK_FALSE(slot->is_lost());
  CHECK(slot->wal_status == "reserved");
  const uint64_t retained = slot->retained_bytes;
  source.run_each({"INSERT INTO a SELECT generate_series(1, 10000)"});
  CHECK(must(catalog.slot(source.options.slot))->retained_bytes > retained + 100'000);
  must(replication.start(Lsn{}));
  auto dropped = catalog.drop_slot(source.options.slot);
  REQUIRE_FALSE(dropped);
  CHECK(dropped.error().code() == ErrorCode::refused);
  replication.stop();
  CHECK(eventually([&] { return catalog.drop_slot(source.options.slot).has_value(); }));
  CHECK_FALSE(must(catalog.slot(source.options.slot)));
  must(catalog.drop_slot(source.options.slot));
}

TEST_CASE("Catalog: the next call after a lost connection works again") {
  Source source;
  Catalog catalog(source.options);
  must(catalog.server());
  source.run_each(
      {"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
       "current_database() AND pid <> pg_backend_pid()"});
  const auto lost = catalog.server();
  REQUIRE_FALSE(lost);
  CHECK(lost.error().code() == ErrorCode::retryable);
  CHECK(must(catalog.server()).wal_level == "logical");
}
