// Room on a disk, asked for before it is needed.
//
// A database that meets a full disk in the middle of a write may not be able to go on with what it
// has open; one that is asked first never gets there. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "relay/base/result.h"

namespace millrace {

// Errors: retryable, naming the folder, when its disk has less than `bytes` free. A folder that can
// not be asked has room: whoever writes next will say what is wrong with it.
Status require_room(const std::string& folder, uint64_t bytes);

}  // namespace millrace
