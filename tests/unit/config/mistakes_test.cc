// What is wrong with a file, told with its line; each case is one mistake, but for the last.
#include <doctest/doctest.h>

#include "tests/unit/config/parse_helpers.h"

using namespace millrace;
using namespace millrace::config;

TEST_CASE("parse: all mistakes at once, in the order of the file") {
  const auto config = parse_text(
      "pipeline: Shop!\n"
      "sorce: {dsn: x}\n"
      "source:\n"
      "  dsn: ${env:NOT_SET}\n"
      "  slott: a\n"
      "  slot: b\n"
      "  slot: c\n"
      "log: {kind: kafak, partitions: many, retention: 5 parsecs}\n"
      "memory: 1KB\n"
      "target: {dsn: x, version: side_table}\n"
      "tables:\n"
      "- public.a.b\n"
      "- {from: a, to: t}\n"
      "- {from: b, to: t}\n"
      "- {form: c}\n"
      "outbox: [{table: x}]\n");
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().code() == ErrorCode::config);
  CHECK(config.error().message() ==
        "shop.yaml:1: pipeline: \"Shop!\" must be 1 to 40 of a-z, 0-9 and _\n"
        "shop.yaml:2: unknown key \"sorce\"; did you mean \"source\"?\n"
        "shop.yaml:4: source.dsn: ${env:NOT_SET}: the environment has no such variable\n"
        "shop.yaml:5: unknown key \"slott\" in source; did you mean \"slot\"?\n"
        "shop.yaml:7: key \"slot\" stands in line 6 already\n"
        "shop.yaml:8: log.kind: \"kafak\" is none of embedded | kafka; did you mean \"kafka\"?\n"
        "shop.yaml:8: log.partitions: \"many\" is not a whole number\n"
        "shop.yaml:8: log.retention: \"5 parsecs\" is not a time; write it like 500ms (ms, s, m, "
        "h, d)\n"
        "shop.yaml:9: memory: \"1KB\" must be between 32MB and 1TB\n"
        "shop.yaml:10: target.version: side_table is not built yet\n"
        "shop.yaml:12: tables: \"public.a.b\" is no table name: a name has at most two parts, "
        "schema.table\n"
        "shop.yaml:14: tables: public.b and public.a (line 13) both land in public.t\n"
        "shop.yaml:15: unknown key \"form\" in an entry of tables; did you mean \"from\"?\n"
        "shop.yaml:15: tables: an entry needs either from or pattern\n"
        "shop.yaml:16: outbox is not built yet");
}

TEST_CASE("parse: missing keys are named with their section's line") {
  CHECK(mistakes_of("pipeline: a\nsource: {slot: x}\n") ==
        "shop.yaml:1: missing key \"target.dsn\"\n"
        "shop.yaml:1: missing key \"tables\"\n"
        "shop.yaml:2: missing key \"source.dsn\"");
}

TEST_CASE("parse: an empty file lacks everything") {
  CHECK(mistakes_of("") == "shop.yaml:1: the file must be a mapping of keys, not nothing");
  CHECK(mistakes_of("- a\n") == "shop.yaml:1: the file must be a mapping of keys, not a list");
}

TEST_CASE("parse: a key in the wrong section is shown its place") {
  CHECK(mistakes_of(kMinimal + "brokers: x:1\n") ==
        "shop.yaml:5: unknown key \"brokers\"; did you mean \"log.brokers\"?");
  CHECK(mistakes_of(kMinimal + "log.kind: kafka\n") ==
        "shop.yaml:5: unknown key \"kind\" in log; did you mean \"log.kind\"?");
}

TEST_CASE("parse: wrong types") {
  CHECK(mistakes_of(kMinimal + "log: [a]\n") ==
        "shop.yaml:5: log: must be a mapping of keys, not a list");
  CHECK(mistakes_of(kMinimal + "log:\n  kind: [kafka]\n") ==
        "shop.yaml:6: log.kind: needs a single value, not a list");
  CHECK(mistakes_of(kMinimal + "log:\n  kind:\n") ==
        "shop.yaml:6: log.kind: needs a single value, not nothing");
  CHECK(mistakes_of(kMinimal + "source: x\n") ==
        "shop.yaml:5: key \"source\" stands in line 2 already\n"
        "shop.yaml:5: source: must be a mapping of keys, not a single value");
  CHECK(mistakes_of(kMinimal + "log: {kafka: 5}\n") ==
        "shop.yaml:5: log.kafka: must be a mapping of librdkafka properties, not a single value");
}

TEST_CASE("parse: invariants are names with SQL") {
  CHECK(mistakes_of(kMinimal + "verify: {invariants: {a: 'SELECT 1'}}\n") == "");
  CHECK(mistakes_of(kMinimal + "verify: {invariants: [a]}\n") ==
        "shop.yaml:5: verify.invariants: must be a mapping of names to SQL, not a list");
  CHECK(mistakes_of(kMinimal + "verify: {invariants: {a: ''}}\n") ==
        "shop.yaml:5: verify.invariants: a needs SQL");
}

TEST_CASE("parse: verify.schedule says of each entry what is wrong") {
  const auto mistakes = [](const std::string& entries) {
    return mistakes_of(kMinimal + "verify: {invariants: {a: x}, schedule: " + entries + "}\n");
  };
  const std::string line = "shop.yaml:5: verify.schedule: ";
  CHECK(mistakes("[{kind: rows, every: 1d}, {kind: sample, every: 5m, sample: 2%}]") == "");
  CHECK(mistakes("[{kind: invariants, every: 5m}]") == "");
  CHECK(mistakes("{kind: rows}") == line + "needs a list, not a mapping");
  CHECK(mistakes("[rows]") == line + "an entry is a mapping of kind and every, not a single value");
  CHECK(mistakes("[{}]") == line + "an entry needs kind\n" + line + "an entry needs every");
  CHECK(mistakes("[{kind: row, every: 1d}]") ==
        line +
            "kind: \"row\" is none of rows | counts | sample | drift | invariants; did you mean "
            "\"rows\"?");
  CHECK(mistakes("[{kind: rows, every: 10ms}]") ==
        line + "every: \"10ms\" is not a time from 1s to 366d; write it like 10m");
  CHECK(mistakes("[{kind: rows, every: 1d, sample: 5%}]") ==
        line + "sample belongs to kind sample");
  CHECK(mistakes("[{kind: sample, every: 1d, sample: 0%}]") ==
        line + "sample: \"0%\" is no share; write it like 5%");
  CHECK(mistakes("[{kind: rows, every: 1d, tables: [public.other]}]") ==
        line + "public.other is not one of `tables`");
  CHECK(mistakes("[{kind: rows, every: 1d, tables: public.a}]") ==
        line + "tables: needs a list of at least one table");
  CHECK(
      mistakes("[{kind: rows, evry: 1d, every: 1d}]") ==
      "shop.yaml:5: unknown key \"evry\" in an entry of verify.schedule; did you mean \"every\"?");
  CHECK(mistakes_of(kMinimal + "verify: {schedule: [{kind: invariants, every: 1d}]}\n") ==
        line + "there are no verify.invariants to prove");
}

TEST_CASE("parse: what is promised and not built is refused by name") {
  const std::pair<const char*, const char*> cases[] = {
      {"log: {format: debezium_json}", "log.format: debezium_json is not built yet"},
      {"log: {delivery: exactly_once}", "log.delivery: exactly_once is not built yet"},
      {"apply: {shards: 2}", "apply.shards: more than 1 is not built yet"},
      {"outbox: [{via: message}]", "outbox is not built yet"},
  };
  for (const auto& [text, mistake] : cases) {
    CHECK(mistakes_of(kMinimal + text + "\n") == std::string("shop.yaml:5: ") + mistake);
  }
  CHECK(mistakes_of(kMinimal + "outbox: []\n") == "");
}

TEST_CASE("parse: what a copy asks before it goes on is a plain URL") {
  const auto mistake = [](const std::string& url) {
    return mistakes_of(kMinimal + "backfill: {throttle: {url: '" + url + "'}}\n");
  };
  CHECK(mistake("http://localhost").empty());
  CHECK(mistake("http://[::1]:8080/may?i=1").empty());
  CHECK(mistake("https://host/x").find("has no TLS") != std::string::npos);
  for (const char* url : {"host/x", "http://", "http://:80/", "http:///x"}) {
    CHECK_MESSAGE(mistake(url).find("must be http://host") != std::string::npos, url);
  }
  CHECK(mistake("http://h:0/").find("a port of 1 to 65535") != std::string::npos);
  CHECK(mistake("http://h:70000").find("a port of 1 to 65535") != std::string::npos);
  CHECK(mistake("http://me:word@h/").find("user or password") != std::string::npos);
  CHECK(mistake("http://h/a b").find("without blanks") != std::string::npos);
}

TEST_CASE("parse: kafka needs brokers, and leaves Millrace's properties alone") {
  CHECK(mistakes_of(kMinimal + "log: {kind: kafka}\n") ==
        "shop.yaml:5: missing key \"log.brokers\", which kafka needs");
  CHECK(mistakes_of(kMinimal + "log: {brokers: 'a:b'}\n") ==
        "shop.yaml:5: log.brokers: \"a:b\" must be host:port, several separated by commas");
  CHECK(mistakes_of(kMinimal + "log: {kafka: {acks: 1}}\n") ==
        "shop.yaml:5: log.kafka: acks is set by Millrace itself; remove it");
  CHECK(mistakes_of(kMinimal + "log: {kind: kafka, brokers: 'a:9092, b'}\n") == "");
}

TEST_CASE("parse: topic templates keep tables apart") {
  CHECK(
      mistakes_of(kMinimal + "log: {topics: '{schema}.{table}'}\n") ==
      "shop.yaml:5: log.topics: \"{schema}.{table}\" must hold {pipeline} once, or topics would be "
      "shared");
  CHECK(mistakes_of(kMinimal + "log: {topics: '{pipeline}.{schema}_{table}'}\n") ==
        "shop.yaml:5: log.topics: \"{pipeline}.{schema}_{table}\" needs a dot between any two "
        "placeholders");
  CHECK(mistakes_of(kMinimal + "log: {topics: '{pipeline}.{schema}.{tabel}'}\n") ==
        "shop.yaml:5: log.topics: \"{pipeline}.{schema}.{tabel}\" does not know the placeholder "
        "{tabel}");
  CHECK(mistakes_of(kMinimal + "log: {topics: 'ä{pipeline}.{schema}.{table}'}\n") ==
        "shop.yaml:5: log.topics: \"ä{pipeline}.{schema}.{table}\" may hold only letters, digits, "
        "'.', '_' and '-'");
  CHECK(mistakes_of(kMinimal + "log: {manifest_topic: fixed}\n") ==
        "shop.yaml:5: log.manifest_topic: \"fixed\" must hold {pipeline} once, or topics would be "
        "shared");
}

TEST_CASE("parse: sizes must fit into memory when they are asked for") {
  CHECK(mistakes_of(kMinimal + "apply: {group_bytes: 64MB}\n") ==
        "shop.yaml:5: apply.group_bytes: 64MB needs memory of at least 256MB; it is 128MB");
  CHECK(mistakes_of(kMinimal + "apply: {group_bytes: 64MB}\nmemory: 256MB\n") == "");
}

TEST_CASE("parse: the admin port leaves loopback only with a token") {
  CHECK(mistakes_of(kMinimal + "admin: {listen: 0.0.0.0:7070}\n") ==
        "shop.yaml:5: admin.listen: the address is not loopback; set admin.token, or listen on "
        "127.0.0.1");
  CHECK(mistakes_of(kMinimal + "admin: {listen: 0.0.0.0:7070, token: 0123456789abcdef}\n") == "");
  CHECK(mistakes_of(kMinimal + "admin: {listen: localhost:7070}\n") == "");
  CHECK(mistakes_of(kMinimal + "admin: {listen: 7070}\n") ==
        "shop.yaml:5: admin.listen: \"7070\" is neither host:port (IPv6 as [::1]:7070) nor off");
  CHECK(mistakes_of(kMinimal + "admin: {listen: '127.0.0.1:70700'}\n") ==
        "shop.yaml:5: admin.listen: \"127.0.0.1:70700\" is neither host:port (IPv6 as [::1]:7070) "
        "nor off");
}

TEST_CASE("parse: what a variable held is never shown") {
  const auto secret = [](const std::string&) { return std::optional<std::string>("hunter2"); };
  for (const char* text :
       {"admin: {listen: '${env:A}'}", "admin: {listen: '${env:A}:1'}", "memory: ${env:A}",
        "log: {kind: '${env:A}'}", "log: {brokers: ':${env:A}'}", "log: {partitions: '${env:A}'}",
        "log: {topics: '${env:A}'}", "setup: ${env:A}", "apply: {group_wait: '${env:A}'}"}) {
    const auto config = parse_text(kMinimal + text + "\n", secret);
    REQUIRE_MESSAGE(!config.has_value(), text);
    CHECK_MESSAGE(config.error().describe().find("hunter2") == std::string::npos, text);
  }
}

TEST_CASE("parse: a short token is refused, and not shown") {
  const std::string mistakes = mistakes_of(kMinimal + "admin: {token: hunter2}\n");
  CHECK(mistakes == "shop.yaml:5: admin.token: is shorter than 16 bytes");
}

TEST_CASE("parse: table entries") {
  const auto with = [](const std::string& entry) {
    return mistakes_of("pipeline: a\nsource: {dsn: x}\ntarget: {dsn: y}\ntables:\n" + entry);
  };
  CHECK(with("- {from: a, pattern: b}\n") ==
        "shop.yaml:5: tables: an entry needs either from or pattern");
  CHECK(with("- {pattern: 'a*', to: b}\n") ==
        "shop.yaml:5: tables: a pattern's tables keep their names; remove `to`");
  CHECK(with("- a\n- public.a\n") == "shop.yaml:6: tables: public.a stands in line 5 already");
  CHECK(with("- {from: a, create: maybe}\n") ==
        "shop.yaml:5: create: \"maybe\" is neither true nor false");
  CHECK(with("- {from: a, map: [x]}\n") ==
        "shop.yaml:5: map: must be a mapping of target columns to SQL, not a list");
  CHECK(with("- {from: a, map: {b: ''}}\n") ==
        "shop.yaml:5: map: b is empty; write SQL, or ~ to leave it out");
  CHECK(with("- {from: a, where: ''}\n") ==
        "shop.yaml:5: where: is empty; remove it for every row");
  CHECK(with("- [a]\n") == "shop.yaml:5: tables: an entry is a name or a mapping, not a list");
  CHECK(with("- 'a*'\n") ==
        "shop.yaml:5: tables: \"a*\" is no table name: a wildcard needs `- pattern: …`");
  CHECK(with("- {from: a}\n- {from: b, to: a}\n") ==
        "shop.yaml:6: tables: public.b and public.a (line 5) both land in public.a");
}

TEST_CASE("parse: what is not YAML says where") {
  CHECK(mistakes_of("pipeline: a\n  b: [\n").starts_with("shop.yaml:2: not YAML: "));
  CHECK(mistakes_of("a: 1\n---\nb: 2\n") ==
        "shop.yaml:2: a second document begins here; one pipeline a file");
  CHECK(mistakes_of(std::string("a: \0b", 5)) == "shop.yaml:1: not a text file");
  CHECK(mistakes_of("[a]: b\n") == "shop.yaml:1: a key must be a plain word");
}

TEST_CASE("parse: a sign that may not stand first is no endless file") {
  for (const char* text : {", a: b", "}", "] x", "a: b\n}", "? \n, x"}) {
    const std::string mistakes = mistakes_of(text);
    CHECK_MESSAGE(mistakes.starts_with("shop.yaml:"), text);
  }
}

TEST_CASE("parse: a small file can not grow large through aliases") {
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c < 'h'; ++c) {
    const std::string before(1, static_cast<char>(c - 1));
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 10; ++i) bomb += (i > 0 ? ",*" : "*") + before;
    bomb += "]\n";
  }
  CHECK(mistakes_of(bomb).find("too many values") != std::string::npos);
  CHECK(mistakes_of(std::string(2000, '[')).starts_with("shop.yaml:1: "));
  CHECK(mistakes_of(std::string(2 * 1024 * 1024, ' ')) ==
        "shop.yaml:1: the file is larger than 1MB");
}

TEST_CASE("parse: control characters of a key do not forge a line") {
  const std::string mistakes = mistakes_of(kMinimal + "\"a\\nshop.yaml:1: b\": c\n");
  CHECK(mistakes.find('\n') == std::string::npos);
}
