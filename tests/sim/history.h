// History: one simulated life of a pipeline, from the origin through faults to a caught-up target.
//
// The relay's capture and apply run as they are, over the fakes of this folder. Checked: what the
// fakes watch (I2–I5), that everything arrives and the slot is let go within a bounded time once
// the faults end (I1, I6), and that nobody ends but for a reason that the history holds: an
// instance that never had a rival is never refused.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "relay/pipeline/publisher.h"
#include "tests/sim/log.h"
#include "tests/sim/profile.h"
#include "tests/sim/source.h"
#include "tests/sim/target.h"
#include "tests/sim/world.h"

namespace millrace::sim {

struct Outcome {
  std::string violated;  // empty: every invariant held
  std::map<std::string, uint64_t, std::less<>> faults;
  uint64_t steps = 0;
  uint64_t transactions = 0;
  uint64_t commits = 0;  // of the target
  std::vector<std::string> trace;
};

class Instance;

class History {
 public:
  History(uint64_t seed, bool only_crashes, bool tracing);
  ~History();
  Outcome run();

 private:
  friend class Instance;
  enum class Role { all, capture, apply };

  void set_up();
  void live();
  void heal();
  void shut_down();
  void tick();
  void environment();
  void meet_faults();
  void keep_running();
  void start(Role role);
  void reap();
  void judge(const Instance& instance);
  bool caught_up() const;
  Instance* alive(Role role) const;
  std::optional<pipeline::ManifestHint> hint();

  World world_;
  Profile profile_;
  Source source_;
  Log log_;
  Database database_;
  std::vector<pipeline::ManifestHint> hints_;  // as a state folder remembers them
  std::vector<std::unique_ptr<Instance>> instances_;
  unsigned started_ = 0;
};

}  // namespace millrace::sim
