// Source: a Postgres with one slot, as far as capture can see it.
//
// Transactions are made at random and sent as pgoutput in commit order. The slot is read by one
// connection, sends what commits at or after confirmed_flush, and forgets what it is told to. A
// connection may be terminated or fall silent; what was on its way to the client still arrives.
// Invariant watched here: the slot never forgets what neither log nor target holds (I5).
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "relay/source/slot_source.h"
#include "tests/sim/profile.h"
#include "tests/sim/state.h"
#include "tests/sim/workload.h"
#include "tests/sim/world.h"

namespace millrace::sim {

inline constexpr const char* kSystemIdentifier = "7000000000000000042";
inline constexpr uint32_t kTimeline = 1;

class Source {
 public:
  Source(World& world, const Profile& profile);

  // What may be forgotten: asked for each move of the slot. Set by the history.
  std::function<Lsn()> durable;

  // The next transaction of the workload commits.
  void commit();
  // Others write: WAL without changes of ours.
  void other_wal();
  // Status updates that are on their way arrive.
  void deliver_acknowledgements();
  // Connections of dead clients are noticed.
  void notice_the_dead();
  void terminate();  // pg_terminate_backend
  void crash();      // the slot may fall back to what it had saved
  void save_slot();  // a checkpoint

  size_t committed() const { return transactions_.size(); }
  Lsn last_end() const { return transactions_.empty() ? origin_ : transactions_.back().end; }
  Lsn origin() const { return origin_; }
  Lsn confirmed() const { return confirmed_; }
  // How many transactions a watermark contains, and what the tables hold after so many.
  size_t contained(Lsn end) const;
  const State& after(size_t transactions) const { return states_[transactions]; }

  std::shared_ptr<source::SlotSource> slots();

 private:
  friend class SimStream;
  friend class SimCatalog;
  struct Transaction {
    Lsn commit, end;
    TimeMicros time;
    std::vector<RowMessage> rows;
  };
  // The server's end of a replication connection.
  struct Backend {
    std::shared_ptr<Process> client;
    bool open = true;  // the server reads and writes it
    bool client_gone = false;
    SteadyTime gone_at{};
    size_t next = 0;  // transaction to send
    std::vector<bool> described;
    std::deque<std::pair<bool, std::string>> sent;  // keepalive, payload; not yet read
    std::deque<Lsn> sent_end;
    Lsn sent_up_to;
    bool keepalive_wanted = false;
    Lsn flushed;
  };

  void send(Backend& backend);
  void push(Backend& backend, bool keepalive, std::string payload, Lsn end);
  void confirm(Backend& backend);
  void close(Backend& backend);

  World& world_;
  const Profile& profile_;
  Lsn origin_{0x1000};
  Lsn wal_end_{0x1000};
  Lsn confirmed_{0x1000};
  Lsn saved_{0x1000};
  std::shared_ptr<Backend> owner_;
  std::vector<Transaction> transactions_;
  Workload workload_;
  std::vector<State> states_;
};

}  // namespace millrace::sim
