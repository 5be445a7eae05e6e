#include "relay/cli/letters_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "relay/cli/status_text.h"
#include "relay/pipeline/letters.h"

namespace millrace::cli {
namespace {

using nlohmann::ordered_json;
using sink::Letter;

constexpr size_t kErrorShown = 160;

ordered_json key_of(const Letter& letter) {
  auto key = ordered_json::parse(letter.key_json, nullptr, false);
  return key.is_object() ? key : ordered_json::object();
}

std::string values_of(const Letter& letter) {
  std::string out;
  for (const auto& value : key_of(letter)) {
    if (!out.empty()) out += ",";
    out += value.is_string() ? value.get<std::string>() : value.dump();
  }
  return out;
}

std::string dump(const ordered_json& json) {
  return json.dump(2, ' ', true, ordered_json::error_handler_t::replace) + "\n";
}

ordered_json json_of(const Letter& letter) {
  ordered_json out;
  out["id"] = letter.id;
  out["table"] = letter.table;
  out["key"] = key_of(letter);
  out["operation"] = std::string(to_string(letter.op));
  out["position"] = to_string(letter.position);
  out["reason"] = letter.failed ? "failed" : "behind";
  out["error"] = letter.error.empty() ? ordered_json(nullptr) : ordered_json(letter.error);
  out["attempts"] = letter.attempts;
  out["since"] = to_string(letter.parked_at);
  return out;
}

// Calls take(letter, letters behind it, id of its chain's first).
template <typename Take>
void walk(const std::vector<Letter>& letters, bool all, Take take) {
  const auto heads = pipeline::chain_heads(letters);
  std::vector<size_t> behind(letters.size(), 0);
  for (size_t i = letters.size(); i-- > 0;) {
    if (heads[i] != i) ++behind[heads[i]];
  }
  std::vector<size_t> before(letters.size(), 0);
  for (size_t i = 0; i < letters.size(); ++i) {
    const size_t rest = behind[heads[i]] - before[heads[i]];
    if (heads[i] == i) {
      take(letters[i], behind[i], letters[i].id);
    } else {
      ++before[heads[i]];
      if (all) take(letters[i], rest - 1, letters[heads[i]].id);
    }
  }
}

}  // namespace

std::string letter_key(const Letter& letter) {
  const ordered_json members = key_of(letter);
  NamedKey key;
  for (const auto& [column, value] : members.items()) {
    key.emplace_back(column, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return key.empty() ? "" : key_text(key);
}

std::string letters_text(const std::vector<Letter>& letters, bool all) {
  if (letters.empty()) return {};
  std::string out = fmt::format("{:<8} {:<28} {:<20} {:<7} {:<28} {:<7} {}\n", "ID", "TABLE", "KEY",
                                "CHANGE", "SINCE", "BEHIND", "ERROR");
  walk(letters, all, [&out](const Letter& letter, size_t behind, int64_t head) {
    std::string error = letter.error;
    if (!letter.failed) error = fmt::format("waits behind {}", head);
    if (letter.id == head && !letter.failed) error = "waits to be tried again";
    if (error.size() > kErrorShown) error = error.substr(0, kErrorShown) + "...";
    out += printable(fmt::format("{:<8} {:<28} {:<20} {:<7} {:<28} {:<7} {}", letter.id,
                                 letter.table, letter_key(letter), to_string(letter.op),
                                 to_string(letter.parked_at), behind, error)) +
           "\n";
  });
  return out;
}

std::string letters_json(const std::vector<Letter>& letters, bool all) {
  ordered_json out = ordered_json::array();
  walk(letters, all, [&out](const Letter& letter, size_t behind, int64_t head) {
    ordered_json one = json_of(letter);
    one["first_of_chain"] = head;
    one["behind"] = behind;
    out.push_back(std::move(one));
  });
  return dump(out);
}

std::string letter_details(const Letter& letter, const std::string& values) {
  ordered_json out = json_of(letter);
  out["bytes"] = letter.bytes;
  if (!values.empty()) out["change"] = ordered_json::parse(values, nullptr, false);
  return dump(out);
}

bool key_matches(const Letter& letter, std::string_view table, std::string_view key) {
  return letter.table == table &&
         (letter.key_json == key || values_of(letter) == key || letter_key(letter) == key);
}

}  // namespace millrace::cli
