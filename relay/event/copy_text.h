// CopyText: the lines that COPY … TO writes in its text format, as values.
//
// Source: PostgreSQL docs, COPY, "Text Format". Only what the server writes: \N for NULL, \b \f \n
// \r \t \v and \\; any other character behind a backslash stands for itself, so nothing is
// malformed. Pure functions.
#pragma once

#include <memory_resource>
#include <string_view>
#include <vector>

#include "relay/event/change.h"

namespace millrace {

// Takes the next line from `text`, without its newline. REQUIRES: `text` is not empty.
std::string_view take_copy_line(std::string_view& text);

// Appends one value per field of the line to `values`: views into the line, or into `arena` where
// the field has escapes.
void read_copy_line(std::string_view line, std::pmr::memory_resource& arena,
                    std::vector<Value>& values);

}  // namespace millrace
