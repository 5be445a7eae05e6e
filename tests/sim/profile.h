// Profile: what kind of history a seed gives: how the pipeline is set up, and which faults it
// meets.
//
// Faults are drawn per history, and most histories have few kinds of them: a mixture of everything
// all the time would hide what needs a quiet moment.
#pragma once

#include "tests/sim/world.h"

namespace millrace::sim {

struct Profile {
  // embedded: one process owns the log, which may be lost with its folder; the slot is told what
  // the target has. Otherwise a log that processes share (Kafka), and the slot is told what is
  // published.
  bool embedded = false;
  bool split = false;   // capture and apply in processes of their own; not embedded
  bool rivals = false;  // a second instance may be started while the first one runs
  int32_t partitions = 1;
  unsigned transactions = 12;
  unsigned rows_max = 4;      // of most transactions
  uint64_t publish_rows = 8;  // rows that close a group
  size_t apply_rows = 6;      // rows in one statement
  bool group_wait = false;    // groups are held together for a while
  bool paced = false;         // capture stays away from an empty socket

  // Per mille of calls.
  unsigned call_fails = 0;   // connections to log, source and target
  unsigned report_lost = 0;  // appended, but the producer never hears of it: it is dead
  unsigned commit_lost = 0;  // the reply to COMMIT
  unsigned conflict = 0;     // a bulk statement meets a constraint
  unsigned log_full = 0;     // an append that has to wait
  // Per mille of turns of the world.
  unsigned kill = 0;
  unsigned stop = 0;       // a clean one
  unsigned pause = 0;      // SIGSTOP … SIGCONT
  unsigned terminate = 0;  // the slot's connection
  unsigned source_crash = 0;
  unsigned hint_lost = 0;  // of restarts, per cent: the offsets folder is gone, or old
  unsigned log_lost = 0;   // of restarts, per cent; embedded only
};

// `only_crashes`: nothing but kills, clean stops and lost replies: nobody may be refused.
inline Profile draw_profile(Random& random, bool only_crashes) {
  Profile p;
  const auto some = [&](unsigned percent, unsigned low, unsigned high) -> unsigned {
    return random.percent(percent) ? static_cast<unsigned>(random.between(low, high)) : 0;
  };
  p.embedded = random.percent(30);
  p.split = !p.embedded && random.percent(45);
  p.partitions = p.embedded ? 1 : static_cast<int32_t>(random.between(1, 3));
  p.transactions = static_cast<unsigned>(random.between(4, 24));
  p.rows_max = static_cast<unsigned>(random.between(1, 8));
  p.publish_rows = random.between(1, 16);
  p.apply_rows = random.between(1, 16);
  p.group_wait = random.percent(30);
  p.paced = random.percent(30);
  p.call_fails = some(30, 1, 8);
  p.report_lost = some(50, 2, 30);
  p.commit_lost = some(50, 10, 200);
  p.kill = some(70, 1, 12);
  p.stop = some(20, 1, 5);
  p.hint_lost = some(50, 10, 90);
  if (only_crashes) return p;
  p.rivals = !p.embedded && random.percent(50);
  p.conflict = some(20, 5, 100);
  p.log_full = some(30, 5, 100);
  p.pause = some(50, 1, 12);
  p.terminate = some(50, 1, 10);
  p.source_crash = some(20, 1, 4);
  p.log_lost = p.embedded ? some(40, 10, 60) : 0;
  return p;
}

}  // namespace millrace::sim
