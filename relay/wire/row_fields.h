// Field numbers of millrace.v1.RowRecord, for the encoder and the decoder of row records.
//
// Persisted: never renumber. tests/unit/wire proves them against the generated class.
#pragma once

#include <cstdint>

namespace millrace::wire::row_field {

inline constexpr int kFormat = 1;
inline constexpr int kToken = 2;
inline constexpr int kEpoch = 3;
inline constexpr int kTimeline = 4;
inline constexpr int kCommitLsn = 5;
inline constexpr int kOrdinal = 6;
inline constexpr int kCommitTime = 7;
inline constexpr int kOp = 8;
inline constexpr int kSchema = 9;
inline constexpr int kXid = 10;
inline constexpr int kLastOfHeader = kXid;
inline constexpr int kBeforeKinds = 11;
inline constexpr int kBefore = 12;
inline constexpr int kAfterKinds = 13;
inline constexpr int kAfter = 14;
inline constexpr int kTruncateFirst = 15;
inline constexpr int kRestartIdentity = 16;
inline constexpr int kTruncated = 17;

}  // namespace millrace::wire::row_field
