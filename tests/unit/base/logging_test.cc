// Logging writes to stderr: each case looks at what arrived there.
#include "relay/base/logging.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace millrace::test {
namespace {

// What `act` writes to stderr.
template <typename Act>
std::string captured(const Act& act) {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fflush(stderr);
  const int saved = ::dup(STDERR_FILENO);
  ::dup2(::fileno(file), STDERR_FILENO);
  act();
  std::fflush(stderr);
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  std::string text(static_cast<size_t>(std::ftell(file) > 0 ? std::ftell(file) : 0), '\0');
  std::fseek(file, 0, SEEK_END);
  text.resize(static_cast<size_t>(std::ftell(file)));
  std::rewind(file);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

// A key that would forge a second line, colour a terminal and end in half a character.
const std::string kHostile = "1\n2026 error forged\r\x1b[31m \"q\" \xC3";

}  // namespace

TEST_CASE("logging: text, one line an event, hostile bytes escaped") {
  logging::init_logging(logging::Level::info, logging::Format::text);
  const std::string text = captured([] {
    logging::warn("row parked", {{"key", kHostile}, {"rows", 3}, {"ok", true}, {"rate", 0.5}});
  });
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
  CHECK(text.back() == '\n');
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find('\r') == std::string::npos);
  CHECK(
      text.find(
          " warn  row parked key=\"1\\n2026 error forged\\r\\u001b[31m \\\"q\\\" \xEF\xBF\xBD\"") !=
      std::string::npos);
  CHECK(text.find(" rows=3 ok=true rate=0.5\n") != std::string::npos);
}

TEST_CASE("logging: JSON that parses, with the fields as they are") {
  logging::init_logging(logging::Level::info, logging::Format::json);
  const std::string text = captured([] {
    logging::error("row parked", {{"key", kHostile}, {"count", UINT64_MAX}});
  });
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
  const auto parsed = nlohmann::json::parse(text);
  CHECK(parsed["level"] == "error");
  CHECK(parsed["event"] == "row parked");
  CHECK(parsed["key"] == kHostile.substr(0, kHostile.size() - 1) + "\xEF\xBF\xBD");
  CHECK(parsed["count"] == UINT64_MAX);
  CHECK(parsed["time"].get<std::string>().ends_with("Z"));
}

TEST_CASE("logging: levels below the chosen one write nothing") {
  logging::init_logging(logging::Level::warn, logging::Format::text);
  CHECK(captured([] {
          logging::debug("quiet");
          logging::info("quiet");
        }).empty());
  logging::set_level(logging::Level::debug);
  CHECK(captured([] { logging::debug("loud"); }).find("debug loud") != std::string::npos);
  logging::set_level(logging::Level::info);
}

}  // namespace millrace::test
