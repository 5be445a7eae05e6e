#include "relay/cli/letters_text.h"

#include <algorithm>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "relay/pipeline/letters.h"

namespace millrace::cli {
namespace {

sink::Letter letter(int64_t id, const std::string& key, const std::string& old_key = "") {
  sink::Letter out;
  out.id = id;
  out.table = "public.t";
  out.key_columns = "a, b";
  out.key = key;
  if (!old_key.empty()) out.old_key = old_key;
  out.key_json = R"({"a":")" + key + R"(","b":"x"})";
  out.position = {1, Lsn{static_cast<uint64_t>(id)}, 0};
  return out;
}

// 1: row A; 2: row B; 3: A behind; 4: B becomes A, which joins them; 5: C.
std::vector<sink::Letter> five() {
  std::vector<sink::Letter> out{letter(11, "A"), letter(12, "B"), letter(13, "A"),
                                letter(14, "A", "B"), letter(15, "C")};
  for (const size_t i : {0, 1, 4}) {
    out[i].failed = true;
    out[i].error = "no \x1b[31m";
  }
  return out;
}

TEST_CASE("chain_heads: letters of one row belong together, under whatever key") {
  CHECK(pipeline::chain_heads(five()) == std::vector<size_t>{0, 0, 0, 0, 4});
  auto other = five();
  other[3].old_key.reset();
  CHECK(pipeline::chain_heads(other) == std::vector<size_t>{0, 1, 0, 0, 4});
  other[2].table = "public.u";
  CHECK(pipeline::chain_heads(other) == std::vector<size_t>{0, 1, 2, 0, 4});
  for (auto& one : other) one.key_columns.clear();  // no key: each is alone
  CHECK(pipeline::chain_heads(other) == std::vector<size_t>{0, 1, 2, 3, 4});
}

TEST_CASE("letters_json: the first of each chain with what waits behind it, or each") {
  auto json = nlohmann::json::parse(letters_json(five(), false));
  REQUIRE(json.size() == 2);
  CHECK(json[0]["id"] == 11);
  CHECK(json[0]["behind"] == 3);
  CHECK(json[0]["key"]["a"] == "A");
  CHECK(json[0]["position"] == "1:0/B:0");
  CHECK(json[1]["behind"] == 0);
  json = nlohmann::json::parse(letters_json(five(), true));
  REQUIRE(json.size() == 5);
  CHECK(json[1]["first_of_chain"] == 11);
  CHECK(json[1]["behind"] == 2);
  CHECK(json[2]["reason"] == "behind");
  CHECK(json[2]["error"].is_null());
  CHECK(json[3]["behind"] == 0);
}

TEST_CASE("letters_text: one line a row, nothing that reaches the terminal as a command") {
  const std::string text = letters_text(five(), true);
  CHECK(std::count(text.begin(), text.end(), '\n') == 6);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find("waits behind 11") != std::string::npos);
  CHECK(text.find(" (a, b)=(A, x) ") != std::string::npos);
  CHECK(letters_text({}, true).empty());
}

TEST_CASE("key_matches: as the list shows it, values with commas between, or the whole object") {
  const auto one = letter(1, "41");
  CHECK(key_matches(one, "public.t", "41,x"));
  CHECK(key_matches(one, "public.t", letter_key(one)));
  CHECK(key_matches(one, "public.t", R"({"a":"41","b":"x"})"));
  CHECK_FALSE(key_matches(one, "public.t", "41"));
  CHECK_FALSE(key_matches(one, "public.u", "41,x"));
}

}  // namespace
}  // namespace millrace::cli
