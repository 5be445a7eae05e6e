// Visibility: when everything that the WAL holds up to a place can be seen by snapshots.
//
// A commit is decodable when its record is flushed, and visible to snapshots only later; with a
// synchronous standby that hangs, much later. So rows that are read after a place in the WAL may
// still be those before it. Invariant: once seen(mark) was true, every snapshot taken afterwards
// sees every commit whose record begins before mark.lsn; of later ones it sees some
// (docs/decisions/0011-chunks-have-a-floor.md). A snapshot's own xmax is no such mark: it follows
// the last transaction that ended, so one that hangs in its commit may lie beyond it. One thread.
#pragma once

#include <optional>
#include <string>

#include "relay/base/ids.h"
#include "relay/base/result.h"
#include "relay/event/visibility_mark.h"
#include "relay/source/connection.h"
#include "relay/source/options.h"

namespace millrace::source {

class Visibility {
 public:
  using Mark = VisibilityMark;

  explicit Visibility(Options options) : options_(std::move(options)) {}

  // Takes a transaction id of the source (needs no privilege; not on a standby).
  Result<Mark> mark();
  Result<bool> seen(const Mark& mark);
  // Who is waited for, for people: the oldest transaction that began before the mark. Empty:
  // nobody.
  Result<std::string> waiting_for(const Mark& mark);

 private:
  Result<Connection*> connection();

  Options options_;
  std::optional<Connection> connection_;
};

}  // namespace millrace::source
