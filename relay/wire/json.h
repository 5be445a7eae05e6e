// Records as JSON, for people, `millrace log cat` and jq: one object, on one line, in ASCII.
//
// Values are the strings that Postgres wrote; null is null and {"unchanged": true} is a value that
// the stream did not carry. Row data is hostile: everything outside printable ASCII is escaped, and
// bytes that are no UTF-8 become U+FFFD, so that no value can reach a terminal or forge a line.
// Thread-safe: no state.
#pragma once

#include <string>
#include <string_view>

#include "relay/event/change.h"
#include "relay/event/manifest.h"
#include "relay/wire/row_codec.h"

namespace millrace::wire {

// Where a record stands in the log.
struct RecordPlace {
  std::string_view topic;
  int32_t partition = 0;
  LogOffset offset = -1;
};

// {"position", "table", "op", "key", "after", "before"}: members that do not apply are left out.
std::string change_to_json(const Change& change);
// The same, with {"topic", "partition", "offset", "token", "epoch", "commit_time"} in front of it.
std::string change_to_json(const Change& change, const RowHeader& header, const RecordPlace& place);

// The row that a change is about: {"id":"41"}; of the new row, or of the old one where there is no
// new one. {} for a table without a key.
std::string key_to_json(const Change& change);

// {"record": "claim" | "schema" | "manifest", "offset", …}.
std::string control_to_json(const ControlRecord& record, LogOffset offset);

}  // namespace millrace::wire
