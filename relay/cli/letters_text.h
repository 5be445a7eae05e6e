// Letters as lines for people and as JSON; never with a row's values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "relay/sink/letter.h"

namespace millrace::cli {

// The first letter of each chain, with the number that wait behind it; every letter with `all`.
// `letters` are in the source's order.
std::string letters_text(const std::vector<sink::Letter>& letters, bool all);
std::string letters_json(const std::vector<sink::Letter>& letters, bool all);

// One letter; `values` is its change as JSON, or empty.
std::string letter_details(const sink::Letter& letter, const std::string& values);

// The key of its row, as key_text has it; empty for a table without one.
std::string letter_key(const sink::Letter& letter);
// What `--key TABLE KEY` means: that, the key's values with commas between, or the whole JSON
// object.
bool key_matches(const sink::Letter& letter, std::string_view table, std::string_view key);

}  // namespace millrace::cli
