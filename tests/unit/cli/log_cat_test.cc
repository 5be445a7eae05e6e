// log_cat over the log in memory: what it shows is what an applier would apply.
#include "relay/cli/log_cat.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "relay/wire/control_codec.h"
#include "relay/wire/row_codec.h"
#include "tests/support/fake_log.h"

using namespace millrace;
using namespace millrace::cli;

namespace {

constexpr const char* kTopic = "shop.public.a";

TableSchemaPtr table() {
  TableSchema schema;
  schema.schema = "public";
  schema.name = "a";
  schema.columns = {{"id", 23, -1, "", "", true}};
  return seal_schema(schema);
}

// A log written by hand: claims, rows and manifests, good and bad ones.
struct Written {
  test::FakeLog log;
  TableSchemaPtr schema = table();
  Token token;
  SchemaRef ref;
  Watermark at;

  LogOffset control(const ControlRecord& record) {
    log.control.push_back(wire::encode_control(record));
    return static_cast<LogOffset>(log.control.size()) - 1;
  }

  void claim() {
    Claim record;
    record.publisher = "test";
    token = Token{control(record)};
    ref = {schema->fingerprint, control(SchemaRecord{token, schema})};
  }

  void row(uint64_t lsn, const std::string& id, const std::string& topic = kTopic) {
    const Value value{ValueKind::text, id};
    Change change;
    change.table = schema.get();
    change.position = {1, Lsn{lsn}, 0};
    change.after = Row(&value, 1);
    std::string bytes;
    wire::encode_row({token, 1, TimeMicros{static_cast<int64_t>(lsn) * 1000}, 0}, change, bytes);
    log.topics[topic].push_back({id, bytes});
  }

  OffsetRange range(const std::string& topic, LogOffset start, uint64_t rows) {
    return {topic, 0, start, static_cast<LogOffset>(log.topics[topic].size()), rows};
  }

  void manifest(uint64_t lsn, std::vector<OffsetRange> ranges, std::optional<Token> other = {}) {
    Manifest record;
    record.token = other.value_or(token);
    record.previous = at;
    at = {1, Lsn{lsn + 1}, Lsn{lsn}, TimeMicros{static_cast<int64_t>(lsn) * 1000}};
    record.last = at;
    for (const OffsetRange& one : ranges) record.rows += one.rows;
    record.transactions = 1;
    record.ranges = std::move(ranges);
    record.schemas = {ref};
    control(record);
  }

  std::vector<std::string> ids(const LogCatOptions& options = {}) {
    std::vector<std::string> out;
    const auto status = log_cat(log, options, {}, [&](const std::string& line) {
      const auto json = nlohmann::json::parse(line);
      out.push_back(options.control ? json["record"].get<std::string>()
                                    : json["after"]["id"].get<std::string>());
      return true;
    });
    REQUIRE_MESSAGE(status.has_value(), (status ? "" : status.error().describe()));
    return out;
  }
};

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("log_cat: rows that a manifest names, and no orphans") {
  Written w;
  w.claim();
  w.row(10, "1");
  w.row(20, "2");
  w.manifest(20, {w.range(kTopic, 0, 2)});
  w.row(30, "orphan");
  CHECK(w.ids() == Ids{"1", "2"});
}

TEST_CASE("log_cat: the rows of a failed attempt inside a range are left out") {
  Written w;
  w.claim();
  w.row(10, "1");
  w.manifest(10, {w.range(kTopic, 0, 1)});
  w.row(20, "failed");
  w.claim();
  w.row(20, "2");
  w.manifest(20, {w.range(kTopic, 1, 1)});
  CHECK(w.ids() == Ids{"1", "2"});
}

TEST_CASE("log_cat: a manifest of a lost claim is void") {
  Written w;
  w.claim();
  const Token old = w.token;
  w.row(10, "zombie");
  w.claim();
  w.manifest(10, {w.range(kTopic, 0, 1)}, old);
  CHECK(w.ids().empty());
  const auto text = log_describe(w.log, {});
  REQUIRE(text.has_value());
  const auto json = nlohmann::json::parse(*text);
  CHECK(json["manifests"] == 0);
  CHECK(json["void_manifests"] == 1);
}

TEST_CASE("log_cat: rows of several topics come in the order of the source") {
  Written w;
  w.claim();
  w.row(10, "1", "shop.x");
  w.row(20, "2", "shop.y");
  w.row(30, "3", "shop.x");
  w.row(40, "4", "shop.y");
  w.manifest(40, {w.range("shop.y", 0, 2), w.range("shop.x", 0, 2)});
  CHECK(w.ids() == Ids{"1", "2", "3", "4"});
  LogCatOptions only;
  only.topic = "shop.y";
  CHECK(w.ids(only) == Ids{"2", "4"});
}

TEST_CASE("log_cat: from and to, by LSN and by time, in and between groups") {
  Written w;
  w.claim();
  for (uint64_t lsn = 10; lsn <= 60; lsn += 20) {
    const auto start = static_cast<LogOffset>(w.log.topics[kTopic].size());
    w.row(lsn, std::to_string(lsn));
    w.row(lsn + 10, std::to_string(lsn + 10));
    w.manifest(lsn + 10, {w.range(kTopic, start, 2)});
  }
  LogCatOptions options;
  options.from = Lsn{20};
  options.to = Lsn{50};
  CHECK(w.ids(options) == Ids{"20", "30", "40"});
  options.from = TimeMicros{20'000};
  options.to = TimeMicros{50'000};
  CHECK(w.ids(options) == Ids{"20", "30", "40"});
  options.from = Lsn{61};
  options.to.reset();
  CHECK(w.ids(options).empty());
}

TEST_CASE("log_cat: control records, and the end of a reader that has enough") {
  Written w;
  w.claim();
  w.row(10, "1");
  w.manifest(10, {w.range(kTopic, 0, 1)});
  LogCatOptions options;
  options.control = true;
  CHECK(w.ids(options) == Ids{"claim", "schema", "manifest"});
  int lines = 0;
  CHECK(log_cat(w.log, options, {}, [&](const std::string&) { return ++lines < 2; }).has_value());
  CHECK(lines == 2);
}

TEST_CASE("log_cat: follow ends when it is stopped") {
  Written w;
  w.claim();
  w.row(10, "1");
  w.manifest(10, {w.range(kTopic, 0, 1)});
  LogCatOptions options;
  options.follow = true;
  std::stop_source stop;
  int lines = 0;
  CHECK(log_cat(w.log, options, stop.get_token(), [&](const std::string&) {
          ++lines;
          stop.request_stop();
          return true;
        }).has_value());
  CHECK(lines == 1);
}

TEST_CASE("log_describe: counts and ranges") {
  Written w;
  w.claim();
  w.row(10, "1");
  w.manifest(10, {w.range(kTopic, 0, 1)});
  w.row(20, "2");
  w.manifest(20, {w.range(kTopic, 1, 1)});
  const auto text = log_describe(w.log, {});
  REQUIRE(text.has_value());
  const auto json = nlohmann::json::parse(*text);
  CHECK(json["log"] == "fake log");
  CHECK(json["claims"] == 1);
  CHECK(json["publisher"] == "test");
  CHECK(json["manifests"] == 2);
  CHECK(json["rows"] == 2);
  CHECK(json["last"]["position"] == "1:0/15");
  REQUIRE(json["topics"].size() == 1);
  CHECK(json["topics"][0]["start"] == 0);
  CHECK(json["topics"][0]["end"] == 2);
}
