// Checks: everything that stands in the way of reading a source, all at once, each with what
// removes it.
#pragma once

#include <span>
#include <vector>

#include "relay/base/error.h"
#include "relay/base/result.h"
#include "relay/source/catalog.h"
#include "relay/source/options.h"

namespace millrace::source {

// A blocker must be removed first; a note is worth knowing. The error's hint is the SQL or the
// setting.
struct Finding {
  bool blocker = false;
  Error error;
};

// Changes nothing. The Result's own error: the source could not be asked.
Result<std::vector<Finding>> check_source(Catalog& catalog, const Options& options,
                                          std::span<const TableSelector> tables);

// The parts, for tests and for `setup`. Pure.
std::vector<Finding> check_server(const ServerFacts& facts, bool slot_exists);
std::vector<Finding> check_slot(const SlotInfo& slot, const std::string& database);
std::vector<Finding> check_tables(const Selection& selection, const std::string& role);
std::vector<Finding> check_publication(const std::optional<Publication>& publication,
                                       const std::string& name, const Selection& selection,
                                       const ServerFacts& facts);

}  // namespace millrace::source
