// Log: a broker, or an embedded log, as far as relay/log/log.h can show it.
//
// Producers queue records a partition; the world appends them one by one, so records of several
// producers mix. A report comes later, or never. What a producer that is gone had on its way may
// still arrive (Kafka), behind a successor's claim too. Readers see an entry some time after it was
// appended. Invariants watched here, on the bytes: a valid manifest continues where the one before
// it ended, and every record that it names is there.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "relay/log/log.h"
#include "tests/sim/profile.h"
#include "tests/sim/world.h"

namespace millrace::sim {

class Log final : public log::Log {
 public:
  Log(World& world, const Profile& profile) : world_(world), profile_(profile) {}

  // Something that is queued is appended, or something appended is reported.
  void work();
  // The embedded log's process has ended: what was queued is lost, but for a part.
  void drop_queued();
  // The folder is lost: all of it, or what came last.
  void lose_folder();

  // How far valid manifests reach.
  Lsn published() const { return published_; }
  // … and how far they did, before a folder was lost.
  Lsn ever_published() const { return ever_published_; }

  Status ensure_topics(const std::vector<log::TopicSpec>&, bool) override { return {}; }
  Status remove_topics(const std::vector<log::TopicSpec>&) override { return {}; }
  Result<std::unique_ptr<log::Producer>> producer() override;
  Result<std::unique_ptr<log::Reader>> reader() override;
  void release_before(LogOffset, const std::vector<OffsetRange>&) override {}
  std::string describe() const override { return "simulated log"; }

 private:
  friend class SimProducer;
  friend class SimReader;
  friend class SimCursor;
  using Partition = std::pair<std::string, int32_t>;
  struct Record {
    std::string key, value;
  };
  struct Queued {
    Record record;
    log::GroupId group = 0;
    uint64_t ticket = 0;
  };
  struct Report {
    Partition partition;
    log::GroupId group = 0;
    uint64_t ticket = 0;
    LogOffset offset = -1;
  };
  // A producer as the broker knows it; control records stand under the empty topic.
  struct Session {
    std::shared_ptr<Process> process;
    bool client_gone = false;
    bool dead = false;
    std::map<Partition, std::deque<Queued>> queues;
    std::deque<Report> unreported;  // appended
    std::deque<Report> reports;     // arrived, not yet polled
  };

  void append(Session& session, const Partition& partition, std::deque<Queued>& queue);
  LogOffset append_control(const std::string& value);
  void check_manifest(const Manifest& manifest, LogOffset offset);
  uint64_t records_of(const OffsetRange& range, Token token) const;
  void recount();

  World& world_;
  const Profile& profile_;
  std::vector<std::string> control_;
  std::map<Partition, std::vector<Record>> records_;
  std::vector<std::shared_ptr<Session>> sessions_;
  LogOffset latest_claim_ = -1;
  Lsn published_;
  Lsn ever_published_;
  bool any_published_ = false;
  bool lost_ = false;  // its first manifest need not continue from anything
};

}  // namespace millrace::sim
