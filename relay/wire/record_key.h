// The record key of a change: which row it is about, so that a row's changes share a partition.
//
// One entry per key column, in column order: varint 0 = null, 1 = unknown (unchanged, and not in
// the old row either), n + 2 = a text of n bytes, which follow. Injective; null and '' differ.
// Empty for tables without a key and for truncate. Source: docs/formats.md.
#pragma once

#include <string>

#include "relay/event/change.h"

namespace millrace::wire {

// Overwrites `out` with the key of the new row; with `before`, or where there is no new row, with
// that of the old one. An update whose old row is not there has not changed its key: both are the
// same.
void record_key(const Change& change, bool before, std::string& out);

}  // namespace millrace::wire
