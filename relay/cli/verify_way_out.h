// verify_way_out: what to do about the differences that `millrace verify` found. Repair brings rows
// over again by their keys, so it can help neither a table without one nor a row that is parked,
// which the target would reject again. Pure, but for reading what is parked.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "relay/cli/verify_text.h"
#include "relay/sink/target.h"

namespace millrace::cli {

// Tables, and keys as key_text has them.
using ParkedRows = std::set<std::pair<std::string, std::string>>;

// Of a connected target. Where that can not be read: none.
ParkedRows parked_rows(sink::Target& target);

// For the end of an error's line; for an outcome of `different`. `file`: where the report was
// written; empty: nowhere.
std::string verify_way_out(const chunk::VerifyReport& report,
                           const std::vector<InvariantReport>& invariants, const ParkedRows& parked,
                           const std::string& file);

}  // namespace millrace::cli
