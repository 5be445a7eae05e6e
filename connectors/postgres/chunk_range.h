// ChunkRange: which keys of a chunk are taken, asked for by the range that it covers: rows that
// stand between its first and its last key, and the table's tombstones. Where few rows stand this
// costs the target one short index scan, not a look at each key.
//
// Invariant: a key that a tombstone forbids is always marked. A row that stands may be missed,
// where the target's index sorts otherwise than the source's: COPY fails at it then, and the look
// by key is what follows. One thread (the connection's).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "connectors/postgres/connection.h"
#include "connectors/postgres/history_statements.h"
#include "relay/sink/target.h"

namespace millrace::postgres {

// Marks the rows, from 0, that are to be left out; empty: none. nullopt: not to be known this way,
// since its keys have no range, or too many rows stand in it. `version`: of the chunk's rows.
Result<std::optional<std::vector<bool>>> taken_in_range(Connection& connection,
                                                        const RangeLook& look,
                                                        const sink::Chunk& chunk,
                                                        const Version& version);

}  // namespace millrace::postgres
