#include "relay/transform/topic_name.h"

#include <random>
#include <set>

#include <doctest/doctest.h>

using namespace millrace::transform;

namespace {

constexpr const char* kForm = "{pipeline}.{schema}.{table}";

bool legal(const std::string& topic) {
  return !topic.empty() && topic.size() <= kTopicBytesMost &&
         topic.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
             std::string::npos;
}

}  // namespace

TEST_CASE("topic_name: plain names stay readable") {
  CHECK(topic_name(kForm, "shop", "public", "order_items") == "shop.public.order_items");
  CHECK(topic_name("cdc-{pipeline}.{table}.{schema}", "shop", "public", "a") ==
        "cdc-shop.a.public");
}

TEST_CASE("topic_name: other characters are escaped") {
  CHECK(topic_name(kForm, "shop", "public", "Odd Name") == "shop.public.Odd-20Name");
  CHECK(topic_name(kForm, "shop", "a.b", "c-d") == "shop.a-2eb.c-2dd");
  CHECK(topic_name(kForm, "shop", "public", "ä") == "shop.public.-c3-a4");
  CHECK(topic_name(kForm, "shop", "public", "{table}") == "shop.public.-7btable-7d");
}

TEST_CASE("topic_name: 249 bytes stay, 250 are cut and hashed") {
  const std::string fits(249 - std::string("shop.s.").size(), 'a');
  CHECK(topic_name(kForm, "shop", "s", fits) == "shop.s." + fits);
  const std::string cut = topic_name(kForm, "shop", "s", fits + "a");
  CHECK(cut.size() == 249);
  CHECK(cut.substr(231, 2) == "-h");
  CHECK(cut != topic_name(kForm, "shop", "s", fits + "b"));
}

TEST_CASE("topic_name: different tables never share a topic") {
  std::mt19937 random(7);
  const std::string alphabet = "a_.- \"{}A0\xC3";
  const auto word = [&](size_t most) {
    std::string out;
    const size_t length = 1 + random() % most;
    while (out.size() < length) out += alphabet[random() % alphabet.size()];
    return out;
  };
  std::set<std::pair<std::string, std::string>> names;
  std::set<std::string> topics;
  for (int i = 0; i < 20000; ++i) {
    const size_t most = i % 10 == 0 ? 63 : 3;
    const auto [schema, table] = std::pair(word(most), word(most));
    if (!names.emplace(schema, table).second) continue;
    const std::string topic = topic_name(kForm, "shop", schema, table);
    CHECK(legal(topic));
    CHECK_MESSAGE(topics.insert(topic).second, schema << " | " << table);
  }
}
