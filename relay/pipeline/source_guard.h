// What the source may lose under a stream: the publication, a table of it, the slot. Each is a
// named refusal here, for the monitor beside a running stream and for the set-up before one.
//
// Invariant: nothing is re-created here; what is gone is changes that are gone, and only a person
// decides to go on without them. Thread: the caller's; each call asks the source over `catalog`.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "relay/base/clock.h"
#include "relay/base/error.h"
#include "relay/base/result.h"
#include "relay/source/catalog.h"
#include "relay/source/publication.h"

namespace millrace::pipeline {

enum class OnRetainedWal { warn, stop, drop_slot };

struct RetainedWalLimit {
  uint64_t bytes = 0;  // 0: none
  OnRetainedWal action = OnRetainedWal::warn;

  bool exceeded_by(const source::SlotInfo& slot) const {
    return bytes > 0 && slot.retained_bytes > bytes;
  }
};

Error publication_is_gone(const std::string& publication);
Error slot_is_lost(const source::SlotInfo& slot);
// Why capture stops, with on_retained_wal: stop.
Error too_much_retained(const source::SlotInfo& slot, const RetainedWalLimit& limit);

// Why a stream of `tables` can not go on: the publication does not exist, or leaves out a table
// that does. A table that was dropped at the source is no reason. nullopt: all is well.
Result<std::optional<Error>> publication_gap(source::Catalog& catalog,
                                             const std::string& publication,
                                             std::span<const source::TableName> tables);

// Drops the slot to save the source's disk, waiting up to `patience` for its reader to let go.
// Returns the refusal that ends the stream; it says so when the slot could not be dropped.
Error give_up_slot(source::Catalog& catalog, const source::SlotInfo& slot,
                   const RetainedWalLimit& limit, Millis patience);

}  // namespace millrace::pipeline
