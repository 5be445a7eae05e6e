// Target: a transactional store behind relay/sink/target.h, with versions and the guard.
//
// One connection at a time is the applier; a transaction locks the applied row, a second one waits
// for it, then compares. The server goes on with a session whose client is gone, until it notices:
// a COMMIT that was sent may take effect later, and its locks stay until then. Invariants watched
// at each commit: the tables are the source's after a whole number of transactions (I2, I3),
// versions and position never fall (I4), what is applied was published (I5).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "relay/sink/target.h"
#include "tests/sim/profile.h"
#include "tests/sim/source.h"
#include "tests/sim/state.h"
#include "tests/sim/world.h"

namespace millrace::sim {

// The store itself.
class Database {
 public:
  Database(World& world, const Profile& profile, const Source& source)
      : world_(world), profile_(profile), source_(source) {
    tables_.state = source.after(0);
  }

  std::function<Lsn()> published;  // how far the log reaches. Set by the history.

  const std::optional<sink::Applied>& applied() const { return applied_; }
  Lsn reached() const { return applied_ ? applied_->watermark.end_lsn : Lsn{}; }
  uint64_t commits() const { return commits_; }

  // Sessions without a client end: by what they were told last, or rolled back.
  void end_orphans();

  // A new client of it.
  std::unique_ptr<sink::Target> connect();

 private:
  friend class SimTarget;
  struct Tables {
    State state;
    std::map<std::pair<std::string, Values>, Version> versions;
  };
  struct Client {
    bool gone = false;
    SteadyTime gone_at{};
  };
  struct Session {  // a transaction
    Tables tables;  // as this transaction sees them
    sink::Applied next;
    bool commit_sent = false;
    bool client_gone = false;
  };

  void commit(Session& session);
  void check(const Tables& before);

  World& world_;
  const Profile& profile_;
  const Source& source_;
  Tables tables_;
  std::optional<sink::Applied> applied_;
  std::shared_ptr<Session> locked_by_;  // the applied row
  std::shared_ptr<Client> applier_;     // who holds the applier lock
  uint64_t commits_ = 0;
};

}  // namespace millrace::sim
