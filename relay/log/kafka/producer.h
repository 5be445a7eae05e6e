// Produces through one idempotent librdkafka handle, and counts delivery reports back into groups.
//
// Invariant: a group is reported when it is sealed and each of its records has an offset; groups
// are reported in their order, control records in theirs. After any failed delivery nothing more is
// reported. Thread: one, with librdkafka's own beside it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "relay/log/kafka/client.h"

struct rd_kafka_op_s;

namespace millrace::log::kafka {

class KafkaProducer : public Producer {
 public:
  static Result<std::unique_ptr<Producer>> make(const KafkaOptions& options);
  ~KafkaProducer() override;

  Result<bool> append(GroupId group, const std::string& topic, std::string_view key,
                      std::string_view value) override;
  Status seal(GroupId group) override;
  Status append_control(uint64_t ticket, std::string_view value) override;
  Result<std::vector<ProducerEvent>> poll(Millis wait) override;
  size_t queued_bytes() const override { return queued_bytes_; }
  size_t partitions_written(GroupId group) const override {
    return groups_.empty() || groups_.back()->id != group ? 0 : groups_.back()->tallies.size();
  }

 private:
  struct Group;
  struct ProducedTopic;
  // What the records of one group in one partition (or one control record) have come to; each
  // record's opaque pointer in librdkafka.
  struct Tally {
    Group* group = nullptr;  // nullptr: a control record
    uint64_t ticket = 0;
    ProducedTopic* topic = nullptr;
    int32_t partition = 0;
    LogOffset first = -1;
    LogOffset last = -1;
    uint64_t rows = 0;
  };
  struct Group {
    GroupId id = 0;
    bool sealed = false;
    uint64_t outstanding = 0;
    std::deque<Tally> tallies;  // stable addresses
  };
  struct ProducedTopic {
    std::string name;
    TopicHandle handle;
    int32_t partitions = 0;
    Group* group = nullptr;       // that `tallies` belongs to
    std::vector<Tally*> tallies;  // by partition
  };

  explicit KafkaProducer(std::unique_ptr<Client> client);
  Result<ProducedTopic*> topic(const std::string& name);
  Status learn_partitions(ProducedTopic& topic);
  Group& group_for(GroupId id);
  static Tally& tally_for(ProducedTopic& topic, Group& group, int32_t partition);
  Result<bool> produce(ProducedTopic& topic, Tally& tally, std::string_view key,
                       std::string_view value);
  void serve(Millis wait);
  void serve_until(SteadyTime until);
  void take_reports(rd_kafka_op_s* event);
  void take_error(rd_kafka_op_s* event);
  void delivered(const rd_kafka_message_s& message);
  void report_groups();
  void die_of_fatal_error(const std::string& topic);
  void die(ErrorCode code, std::string what, std::string hint = {});
  Status check_alive() const;

  const size_t budget_bytes_;
  std::unique_ptr<Client> client_;
  Queue queue_;
  std::map<std::string, std::unique_ptr<ProducedTopic>> topics_;
  ProducedTopic* last_topic_ = nullptr;
  std::deque<std::unique_ptr<Group>> groups_;  // not yet reported, ascending
  std::deque<Tally> controls_;                 // not yet durable, in order
  std::vector<ProducerEvent> events_;
  std::optional<Error> dead_;
  size_t queued_bytes_ = 0;
  uint32_t appends_ = 0;
  bool starved_ = false;  // the last append found no room
};

}  // namespace millrace::log::kafka
