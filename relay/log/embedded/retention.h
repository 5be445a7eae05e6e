// Removal of what is old or too much, and released.
//
// Invariant: a topic's start moves only to a retention mark at or below what release_before()
// released, and never past its last mark: the newest records stay whatever their age. Thread: the
// writer's.
#pragma once

#include <cstdint>

#include "relay/log/embedded/store.h"

namespace millrace::log {

Status apply_retention(Store& store, uint64_t now_micros);

}  // namespace millrace::log
