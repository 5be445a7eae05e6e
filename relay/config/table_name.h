// Table names and table patterns as SQL writes them.
//
// Format: [schema "."] name; a part is an identifier ([A-Za-z_ or a non-ASCII byte], then also
// digits and $; folded to lower case) or anything in double quotes with embedded quotes doubled; 1
// to 63 bytes. In a pattern * and ? are wildcards, quoted or not. Source: PostgreSQL docs,
// "Identifiers and Key Words".
#pragma once

#include <string_view>

#include "relay/base/result.h"
#include "relay/config/config.h"

namespace millrace::config {

// Errors: config.
Result<TableName> parse_table_pattern(std::string_view text);

}  // namespace millrace::config
