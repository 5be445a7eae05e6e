#include "relay/config/config.h"

#include <doctest/doctest.h>

#include "tests/unit/config/parse_helpers.h"

using namespace millrace;
using namespace millrace::config;

namespace {

// The example of the interface documentation, with what is not built yet at its default.
constexpr const char* kFull = R"yaml(pipeline: shop
state: ./state
source:
  dsn: postgresql://relay:${env:SRC_PASSWORD}@db.old/shop?sslmode=verify-full
  slot: millrace_shop
  publication: millrace_shop
  max_retained_wal: 20GB
  on_retained_wal: warn
  streaming: on
log:
  kind: kafka
  brokers: localhost:9092
  topics: "{pipeline}.{schema}.{table}"
  partitions: 6
  replication_factor: 3
  format: protobuf
  delivery: manifest
  retention: 24h
  kafka: {compression.type: lz4}
target:
  kind: postgres
  dsn: host=db.new password=${env:TGT_PASSWORD}
  version: column
  on_schema_change: stop
  on_bad_row: stop
  constraints: replica
tables:
- public.customers
- from: public.payments
  to: billing.payments_v2
  create: true
  where: "deleted_at is null"
  map: {amount_cents: "round(amount * 100)::bigint", note: "coalesce(memo, '')",
                     amount : ~
}
- pattern: "public.orders_*"
backfill: {on_start: false}
apply: {group_rows: 10000, group_bytes: 8MB, group_wait: 5ms, shards: 1}
memory: 128MB
admin: {listen: "[::1]:0", token: ${env:ADMIN_TOKEN}}
)yaml";

}  // namespace

TEST_CASE("parse: the documented example") {
  const auto config = parse_text(kFull, environment_of({{"SRC_PASSWORD", "p@ss/word"},
                                                        {"TGT_PASSWORD", "it's"},
                                                        {"ADMIN_TOKEN", "0123456789abcdef"}}));
  REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message()));
  CHECK(config->source.dsn.reveal() ==
        "postgresql://relay:p%40ss%2Fword@db.old/shop?sslmode=verify-full");
  CHECK(config->target.dsn.reveal() == "host=db.new password='it\\'s'");
  CHECK(config->source.max_retained_wal == 20ull << 30);
  CHECK(config->log.kind == LogKind::kafka);
  CHECK(config->log.retention == Millis(24 * 3600 * 1000));
  CHECK(config->log.acknowledge == Acknowledge::published);
  REQUIRE(config->log.kafka.size() == 1);
  CHECK(config->log.kafka[0].first == "compression.type");
  CHECK(config->log.kafka[0].second.reveal() == "lz4");
  CHECK(config->target.constraints == Constraints::replica);
  CHECK(config->apply.group.wait == Millis(5));
  CHECK(config->admin.host == "::1");
  CHECK(config->admin.port == 0);
  REQUIRE(config->tables.size() == 3);
  const TableEntry& payments = config->tables[1];
  CHECK(payments.from == TableName{"public", "payments"});
  CHECK(payments.to == TableName{"billing", "payments_v2"});
  CHECK(payments.create);
  CHECK(payments.where == "deleted_at is null");
  REQUIRE(payments.map.size() == 3);
  CHECK(payments.map[0].column == "amount_cents");
  CHECK(payments.map[0].sql == "round(amount * 100)::bigint");
  CHECK_FALSE(payments.map[2].sql.has_value());
  CHECK(payments.line == 29);
  CHECK(config->tables[2].pattern);
  CHECK(config->tables[2].from.name == "orders_*");
}

TEST_CASE("parse: defaults") {
  const auto config = parse_text(kMinimal);
  REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message()));
  CHECK(config->source.slot == "millrace_shop");
  CHECK(config->source.publication == "millrace_shop");
  CHECK(config->source.slot_wait == Millis(75000));
  CHECK(config->log.kind == LogKind::embedded);
  CHECK(config->log.acknowledge == Acknowledge::applied);
  CHECK(config->log.topics == "{pipeline}.{schema}.{table}");
  CHECK(config->log.manifest_topic == "shop.manifest");
  CHECK(config->log.max_record == 64ull << 20);
  CHECK(config->publish.rows == 10000);
  CHECK(config->apply.shards == 1);
  CHECK(config->memory == 128ull << 20);
  CHECK(config->setup == Setup::automatic);
  CHECK(config->on_stop == OnStop::wait);
  CHECK(config->admin.host == "127.0.0.1");
  CHECK(config->admin.port == 7070);
  CHECK(config->state == "state");
  CHECK(config->logging.level == logging::Level::info);
}

TEST_CASE("parse: a small memory shrinks what was not asked for") {
  const auto config = parse_text(kMinimal + "memory: 32MB\n");
  REQUIRE(config.has_value());
  CHECK(config->log.max_record == 16ull << 20);
  CHECK(config->apply.group.bytes == 4ull << 20);
  CHECK(config->publish.bytes == 4ull << 20);
}

TEST_CASE("parse: the state folder is beside the file") {
  const auto beside = parse(kMinimal, "/etc/millrace/shop.yaml", no_environment());
  REQUIRE(beside.has_value());
  CHECK(beside->state == "/etc/millrace/state");
  const auto absolute =
      parse(kMinimal + "state: /var/lib/shop\n", "/etc/millrace/shop.yaml", no_environment());
  REQUIRE(absolute.has_value());
  CHECK(absolute->state == "/var/lib/shop");
}

TEST_CASE("parse: admin.listen off") {
  const auto config = parse_text(kMinimal + "admin: {listen: off}\n");
  REQUIRE(config.has_value());
  CHECK_FALSE(config->admin.enabled);
}

TEST_CASE("load: a file that is not there is a config error") {
  const auto config = load("/nonexistent/shop.yaml");
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().code() == ErrorCode::config);
  CHECK(config.error().message() ==
        "/nonexistent/shop.yaml: can not read the config: No such file or directory");
}

TEST_CASE("load: a folder is a config error") {
  const auto config = load("/tmp");
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().code() == ErrorCode::config);
}
