// CopyBinary: tuples as COPY … TO writes them in its binary format, which are passed on as they
// are.
//
// Source: PostgreSQL docs, COPY, "Binary Format"; all numbers big-endian:
//   signature, flags 0, extension 0 (19 bytes) · tuple · tuple · … · int16 -1
//   tuple: int16 fields, and for each int32 length (-1: NULL) and so many bytes
// Only for types whose bytes say the same to every server. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

inline constexpr std::string_view kCopyBinaryHeader{"PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19};
inline constexpr std::string_view kCopyBinaryEnd{"\377\377", 2};

// Built-in types, by their OID, that every server reads as every other one writes them.
bool copies_in_binary(uint32_t type_oid);
// Of some of them text_of_binary knows the text.
bool has_text_of_binary(uint32_t type_oid);
std::string text_of_binary(uint32_t type_oid, std::string_view bytes);

// Takes the next tuple, with its number of fields, from `bytes`; nullopt: it is cut off, or none.
std::optional<std::string_view> take_copy_tuple(std::string_view& bytes);
// nullopt: NULL, or there is no such field. REQUIRES: `tuple` is whole.
std::optional<std::string_view> copy_field(std::string_view tuple, size_t number);
// Appends the tuple to `out` with one field more.
void append_copy_tuple(std::string& out, std::string_view tuple, std::string_view field);

}  // namespace millrace
