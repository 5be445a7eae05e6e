// VisibilityMark: a place in the source's WAL, and what to wait for until snapshots see all of it.
//
// Invariant: once the oldest running transaction is `next_xid` or younger, every snapshot taken
// afterwards sees every commit whose record begins before `lsn` (relay/source/visibility.h makes
// and asks it). Plain data.
#pragma once

#include <cstdint>

#include "relay/base/ids.h"

namespace millrace {

struct VisibilityMark {
  Lsn lsn;                // end of WAL when the mark was made
  uint64_t next_xid = 0;  // 64 bits: every transaction that had written by then is older
};

}  // namespace millrace
