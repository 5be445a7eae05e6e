// A world for Verify: a source whose commits become visible late, a target that follows late, and
// damage. Every call lets some of it happen, by a seed.
#pragma once

#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "relay/chunk/verify.h"

namespace millrace::chunk {

struct WorldOptions {
  uint64_t seed = 0;
  int keys = 60;
  int moves_max = 6;         // what may happen in a call
  double hang = 0.2;         // of the commits become visible late
  bool lsn_only = false;     // the mutation: a mark is taken to be seen at once
  std::set<int> left_alone;  // no commit touches these
  int hot = -1;              // this key changes at every move
  int scramble = 1;          // other than 1: the target sorts keys (below 101) in another order
};

class VerifyWorld final : public compare::SourceClock, public compare::TargetClock {
 public:
  explicit VerifyWorld(WorldOptions options);

  // Everything that is committed becomes visible and applied.
  void rest();
  void put(int key, const std::string& value);
  // Damage in the target, past the stream.
  void lose(int key) { target_.erase(key); }
  void spoil(int key, const std::string& value) { target_.at(key).value = value; }
  void add_extra(int key, bool with_version);
  void set_back(int key, const std::string& value);  // an old row under an old version
  bool in_target(int key) const { return target_.contains(key); }
  bool in_source(int key) const { return visible_.contains(key); }
  // Did the stream write the key after the damage?
  bool written_since_damage(int key) const { return written_.contains(key); }
  void begin_damage() { written_.clear(); }
  // What is applied, and the target's row is not it.
  bool is_damaged(int key) const;

  VerifySides sides();
  TablePlan plan() const;

  Result<Mark> mark() override;
  Result<bool> seen(const Mark& mark) override;
  Result<std::string> waiting_for(const Mark&) override { return std::string("somebody"); }
  Result<Lsn> end_of_wal() override;
  Status nudge() override { return {}; }
  Result<Place> applied() override;
  Result<Place> begin() override;
  void end() override { snapshot_.reset(); }

 private:
  struct Commit {
    Lsn lsn;
    int key = 0;
    std::optional<std::string> value;  // nullopt: a delete
    bool visible = false;
  };
  struct Stored {
    std::string value;
    std::string mark;
  };
  using Table = std::map<int, Stored>;

  class Side final : public compare::Reader {
   public:
    Side(VerifyWorld& world, bool source) : world_(world), source_(source) {}
    Result<std::optional<compare::Key>> boundary(size_t, const compare::Range& range,
                                                 uint64_t rows) override;
    Result<uint64_t> count(size_t, const compare::Range& range) override;
    Result<compare::Sum> sum(size_t, const compare::Range& range,
                             const std::string& floor) override;
    Result<compare::Sum> whole(size_t table) override;
    Result<std::vector<compare::Digest>> digests(size_t, const compare::Range& range) override;
    Result<std::vector<std::optional<compare::Row>>> rows(size_t,
                                                          std::span<const compare::Key> keys,
                                                          bool values) override;

   private:
    std::vector<std::pair<int, Stored>> read(const compare::Range& range);
    int place(int key) const;
    VerifyWorld& world_;
    const bool source_;
  };

  int dice(int sides) { return static_cast<int>(random_() % static_cast<uint64_t>(sides)); }
  void happen();
  void commit(int key, std::optional<std::string> value, bool hangs);
  void show(Commit& commit);
  void apply_next();

  const WorldOptions options_;
  std::mt19937_64 random_;
  std::vector<Commit> commits_;
  size_t applied_ = 0;  // commits
  Lsn end_{100};
  Table visible_;                     // the source, as snapshots see it
  std::map<int, std::string> truth_;  // what the applied commits make
  Table target_;
  std::optional<Table> snapshot_;  // of the target
  std::set<int> written_;
  Side source_side_{*this, true}, target_side_{*this, false};
};

// Time that passes only when somebody waits.
class WaitingClock final : public Clock {
 public:
  SteadyTime now() const override { return now_; }
  TimeMicros wall() const override { return {}; }
  bool sleep_for(std::stop_token, Millis wait) const override {
    now_ += wait;
    return true;
  }

 private:
  mutable SteadyTime now_{};
};

}  // namespace millrace::chunk
