// The applier lock: a session-level advisory lock of the target that says who applies a pipeline.
//
// It keeps a second applier from beginning, and names the first. It is no fence: a session that was
// cut off may have ended without its owner knowing it. The fence is the compare-and-set on
// millrace.applied. While the lock is held no earlier session of this pipeline has a COMMIT on its
// way, so that what applied() reads is final.
//
// Key: hashtextextended('millrace applier ' || pipeline, 0), in the target's database.
// One thread.
#pragma once

#include <string>

#include "connectors/postgres/connection.h"

namespace millrace::postgres {

// A session that held the lock: a pid comes again, with another start.
struct Session {
  int pid = 0;
  std::string start;
  bool operator==(const Session&) const = default;
};

// `own` is the session that this instance had before, if any: where the server has not noticed its
// end, it is ended. Errors: refused while another session holds the lock, with who it is.
Status take_applier_lock(Connection& connection, const std::string& pipeline, const Session& own);

}  // namespace millrace::postgres
