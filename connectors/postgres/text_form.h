// Bytes and foreign text in the forms that Postgres takes and gives: bytea's hex, valid UTF-8.
//
// Pure functions.
#pragma once

#include <string>
#include <string_view>

namespace millrace::postgres {

// "\x" and two digits a byte.
std::string to_bytea(std::string_view bytes);
// Of the server's own output: "\x" and pairs of lower-case digits.
std::string from_bytea(std::string_view text);
// Pairs of lower-case digits, of the server's own output.
std::string from_hex(std::string_view digits);
// What Postgres does not take as text becomes '?': messages quote keys, which may hold anything.
std::string as_text(std::string_view text);

}  // namespace millrace::postgres
