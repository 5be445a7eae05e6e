// apply_batch: writes changes to the target in bulk, and in source order where bulk meets a
// constraint.
//
// Collapsed rows may meet a unique or foreign key that the source's own order of statements did not
// (two rows that swap a unique value). The target then takes nothing of the plan and says
// `conflict`; the plan's changes are written in ever smaller pieces, and one by one where it still
// conflicts. Where rows are parked (parking.h), a row that the target rejects is found the same
// way, becomes a letter, and takes later changes of its key with it.
#pragma once

#include <span>

#include "relay/base/result.h"
#include "relay/event/change.h"
#include "relay/sink/parking.h"
#include "relay/sink/planner.h"
#include "relay/sink/target.h"

namespace millrace::sink {

// REQUIRES: target.begin() succeeded; the truncate changes of one statement are not divided between
// calls. Errors: whatever Target::write says, but never `conflict`; the transaction is then rolled
// back. `planner` is scratch memory, reused between calls. `parking` may be null.
Status apply_batch(Target& target, std::span<const Change> changes, Planner& planner,
                   Parking* parking = nullptr);
Status apply_batch(Target& target, std::span<const Change> changes);

}  // namespace millrace::sink
