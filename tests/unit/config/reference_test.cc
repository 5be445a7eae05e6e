#include <fstream>
#include <iterator>

#include <doctest/doctest.h>

#include "relay/config/options.h"
#include "relay/config/values.h"
#include "tests/unit/config/parse_helpers.h"

using namespace millrace;
using namespace millrace::config;

TEST_CASE("reference_markdown: docs/configuration.md is what the table of options says") {
  std::ifstream in(MILLRACE_REFERENCE);
  REQUIRE(in.good());
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  CHECK_MESSAGE(text == reference_markdown(), "run: millrace docs-config > docs/configuration.md");
}

TEST_CASE("options: every default is within its own bounds, and every key is documented once") {
  Config config;
  for (const Option& option : options()) {
    CHECK_FALSE(option.doc.empty());
    CHECK(std::count_if(options().begin(), options().end(),
                        [&](const Option& other) { return other.key == option.key; }) == 1);
    if (option.fallback.empty() || option.key == "source.slot") continue;
    CHECK_MESSAGE(set_value(option, config, std::string(option.fallback), option.fallback) == "",
                  option.key);
  }
}

TEST_CASE("effective: shows every option and no secret") {
  const auto config = parse_text(
      "pipeline: shop\n"
      "source: {dsn: 'postgresql://u:hunter2@h/d'}\n"
      "target: {dsn: 'password=hunter2'}\n"
      "tables: [public.a, {from: 'public.\"B b\"', to: c.d}]\n"
      "log: {kafka: {sasl.password: hunter2}}\n"
      "admin: {token: hunter2hunter2hunter2}\n");
  REQUIRE(config.has_value());
  const std::string text = effective(*config);
  CHECK(text.find("hunter2") == std::string::npos);
  CHECK(text.find("source.dsn: ***\n") != std::string::npos);
  CHECK(text.find("admin.token: ***\n") != std::string::npos);
  CHECK(text.find("log.kafka: {sasl.password: ***}\n") != std::string::npos);
  CHECK(text.find("log.kind: embedded\n") != std::string::npos);
  CHECK(text.find("apply.group_bytes: 8MB\n") != std::string::npos);
  CHECK(text.find("admin.listen: 127.0.0.1:7070\n") != std::string::npos);
  CHECK(text.find("tables: [public.a, public.\"B b\" to c.d]\n") != std::string::npos);
  for (const Option& option : options()) {
    CHECK(text.find(std::string(option.key) + ": ") != std::string::npos);
  }
}
