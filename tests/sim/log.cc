#include "tests/sim/log.h"

#include <algorithm>
#include <utility>

#include "relay/wire/control_codec.h"
#include "relay/wire/row_codec.h"

namespace millrace::sim {
namespace {

constexpr unsigned kLingersPercent = 90;
constexpr unsigned kFallsBehindPercent = 5;  // of a reader's calls, for up to …
constexpr uint64_t kBehindMs = 200;

uint64_t hash_of(std::string_view key) {
  uint64_t hash = 14695981039346656037ULL;
  for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash ^ (hash >> 31);
}

}  // namespace

void Log::work() {
  Random& random = world_.random;
  std::erase_if(sessions_, [](const auto& session) {
    return session->client_gone && session->queues.empty();
  });
  if (sessions_.empty()) return;
  Session& session = *sessions_[random.below(sessions_.size())];
  if (session.dead) session.unreported.clear();
  // What a client left behind arrives late.
  if (session.client_gone && random.percent(kLingersPercent)) return;
  if (session.queues.empty() || random.percent(40)) {
    if (session.unreported.empty()) return;
    if (world_.faults_on && random.per_mille(profile_.report_lost)) {
      ++world_.faults["report lost"];
      world_.trace("fault: a delivery report is lost");
      session.dead = true;
      return;
    }
    session.reports.push_back(session.unreported.front());
    session.unreported.pop_front();
    return;
  }
  const auto queue = std::next(session.queues.begin(),
                               static_cast<std::ptrdiff_t>(random.below(session.queues.size())));
  for (uint64_t many = random.between(1, 4); many > 0 && !queue->second.empty(); --many) {
    append(session, queue->first, queue->second);
  }
  if (queue->second.empty()) session.queues.erase(queue);
}

void Log::append(Session& session, const Partition& partition, std::deque<Queued>& queue) {
  Queued queued = std::move(queue.front());
  queue.pop_front();
  LogOffset offset = 0;
  if (partition.first.empty()) {
    offset = append_control(queued.record.value);
  } else {
    auto& records = records_[partition];
    offset = static_cast<LogOffset>(records.size());
    records.push_back(std::move(queued.record));
  }
  session.unreported.push_back({partition, queued.group, queued.ticket, offset});
}

LogOffset Log::append_control(const std::string& value) {
  const auto offset = static_cast<LogOffset>(control_.size());
  control_.push_back(value);
  const auto record = wire::decode_control(value);
  if (!record) {
    world_.violation("I5", "a control record does not decode: " + record.error().describe());
    return offset;
  }
  if (const auto* claim = std::get_if<Claim>(&*record)) {
    latest_claim_ = offset;
    world_.trace("log: offset {}: claim of {}", offset, claim->publisher);
  }
  if (const auto* manifest = std::get_if<Manifest>(&*record)) check_manifest(*manifest, offset);
  return offset;
}

void Log::check_manifest(const Manifest& manifest, LogOffset offset) {
  const bool valid = manifest.token.value == latest_claim_;
  world_.trace("log: offset {}: {}manifest of token {}: {}", offset, valid ? "" : "void ",
               manifest.token.value, millrace::describe(manifest));
  if (!valid) return;
  if (any_published_ && !lost_ && manifest.previous.end_lsn > published_) {
    world_.violation("I1", fmt::format("manifest {} continues from {}, published is {}", offset,
                                       to_string(manifest.previous), to_string(published_)));
  }
  for (const OffsetRange& range : manifest.ranges) {
    const uint64_t found = records_of(range, manifest.token);
    if (found == range.rows) continue;
    world_.violation("I1", fmt::format("manifest {} names {} rows of {}/{}, {} are there", offset,
                                       range.rows, range.topic, range.partition, found));
  }
  any_published_ = true;
  lost_ = false;
  published_ = std::max(published_, manifest.last.end_lsn);
  ever_published_ = std::max(ever_published_, published_);
}

uint64_t Log::records_of(const OffsetRange& range, Token token) const {
  const auto found = records_.find({range.topic, range.partition});
  if (found == records_.end()) return 0;
  const auto end = std::min(static_cast<size_t>(range.end), found->second.size());
  uint64_t count = 0;
  for (auto i = static_cast<size_t>(range.start); i < end; ++i) {
    const auto header = wire::peek_row(found->second[i].value);
    if (header && header->token == token) ++count;
  }
  return count;
}

void Log::drop_queued() {
  for (const auto& session : sessions_) {
    for (auto& [partition, queue] : session->queues) {
      queue.resize(world_.random.below(queue.size() + 1));
      while (!queue.empty()) append(*session, partition, queue);
    }
    session->queues.clear();
    session->client_gone = true;
  }
  sessions_.clear();
}

void Log::lose_folder() {
  const size_t keep = world_.random.percent(50) ? 0 : world_.random.below(control_.size() + 1);
  ++world_.faults["log folder lost"];
  world_.trace("fault: the log's folder is lost; a copy holds {} of {} manifests", keep,
               control_.size());
  if (keep == 0) records_.clear();  // a copy of the past holds at least what it names
  control_.resize(keep);
  recount();
}

void Log::recount() {
  latest_claim_ = -1;
  published_ = {};
  any_published_ = false;
  lost_ = true;
  for (size_t i = 0; i < control_.size(); ++i) {
    const auto record = wire::decode_control(control_[i]);
    if (std::get_if<Claim>(&*record)) latest_claim_ = static_cast<LogOffset>(i);
    const auto* manifest = std::get_if<Manifest>(&*record);
    if (!manifest || manifest->token.value != latest_claim_) continue;
    published_ = std::max(published_, manifest->last.end_lsn);
    any_published_ = true;
  }
}

class SimProducer final : public log::Producer {
 public:
  explicit SimProducer(Log& log) : log_(log), session_(std::make_shared<Log::Session>()) {
    session_->process = log.world_.current()->process;
    log.sessions_.push_back(session_);
  }
  // What was on its way may arrive yet; the order within a partition stays.
  ~SimProducer() override {
    session_->client_gone = true;
    for (auto& [partition, queue] : session_->queues) {
      if (log_.profile_.embedded) continue;  // drop_queued() decides
      queue.resize(log_.world_.random.below(queue.size() + 1));
    }
    std::erase_if(session_->queues, [](const auto& queue) { return queue.second.empty(); });
  }

  Result<bool> append(log::GroupId group, const std::string& topic, std::string_view key,
                      std::string_view value) override {
    log_.world_.step();
    TRY(check());
    if (log_.world_.fault("log is full", log_.profile_.log_full)) return false;
    const auto partitions = static_cast<uint64_t>(log_.profile_.partitions);
    const auto partition = key.empty() ? 0 : static_cast<int32_t>(hash_of(key) % partitions);
    queue({topic, partition}, {{std::string(key), std::string(value)}, group, 0});
    groups_[group].outstanding += 1;
    return true;
  }

  Status seal(log::GroupId group) override {
    log_.world_.step();
    TRY(check());
    groups_[group].sealed = true;
    return {};
  }

  Status append_control(uint64_t ticket, std::string_view value) override {
    log_.world_.step();
    TRY(check());
    queue({"", 0}, {{"", std::string(value)}, 0, ticket});
    return {};
  }

  Result<std::vector<log::ProducerEvent>> poll(Millis wait) override {
    log_.world_.step();
    auto events = take();
    if (!events.empty() || wait == Millis(0)) {
      if (events.empty()) TRY(check());
      return events;
    }
    log_.world_.wait(wait, [this] { return session_->dead || !session_->reports.empty(); });
    events = take();
    if (events.empty()) TRY(check());
    return events;
  }

  size_t queued_bytes() const override { return 0; }

 private:
  struct Group {
    uint64_t outstanding = 0;
    bool sealed = false;
    std::map<Log::Partition, OffsetRange> ranges;
  };

  Status check() {
    if (log_.world_.fault("producer fails", log_.profile_.call_fails)) session_->dead = true;
    if (session_->dead) return lost("the producer has failed");
    return {};
  }

  void queue(const Log::Partition& partition, Log::Queued queued) {
    session_->queues[partition].push_back(std::move(queued));
  }

  std::vector<log::ProducerEvent> take() {
    std::vector<log::ProducerEvent> events;
    for (; !session_->reports.empty(); session_->reports.pop_front()) {
      const Log::Report& report = session_->reports.front();
      if (report.partition.first.empty()) {
        events.emplace_back(log::ControlDurable{report.ticket, report.offset});
        continue;
      }
      Group& group = groups_[report.group];
      group.outstanding -= 1;
      auto [range, fresh] = group.ranges.try_emplace(
          report.partition, OffsetRange{report.partition.first, report.partition.second,
                                        report.offset, report.offset + 1, 0});
      range->second.end = report.offset + 1;
      range->second.rows += 1;
    }
    while (!groups_.empty() && groups_.begin()->second.sealed &&
           groups_.begin()->second.outstanding == 0) {
      log::GroupDurable durable{groups_.begin()->first, {}};
      for (auto& [partition, range] : groups_.begin()->second.ranges) {
        durable.ranges.push_back(range);
      }
      events.emplace_back(std::move(durable));
      groups_.erase(groups_.begin());
    }
    return events;
  }

  Log& log_;
  std::shared_ptr<Log::Session> session_;
  std::map<log::GroupId, Group> groups_;
};

class SimCursor final : public log::RangeCursor {
 public:
  SimCursor(Log& log, const OffsetRange& range) : log_(log), range_(range), next_(range.start) {}
  Result<std::optional<log::LogRecord>> next() override {
    log_.world_.step();
    if (log_.world_.fault("read fails", log_.profile_.call_fails)) return lost("reading a range");
    resting_ = false;
    const auto& records = log_.records_[{range_.topic, range_.partition}];
    if (next_ >= range_.end) return std::optional<log::LogRecord>();
    if (next_ >= static_cast<LogOffset>(records.size())) {
      return fail(ErrorCode::refused, "the range is not in the log");
    }
    // Lent for one call only: the next one may overwrite it.
    lent_ = records[static_cast<size_t>(next_)];
    return std::optional<log::LogRecord>(log::LogRecord{next_++, lent_.key, lent_.value});
  }
  void rest() override {
    if (!std::exchange(resting_, true)) next_--;
    lent_ = {};
  }
  Status prepare() override {
    log_.world_.step();
    return {};
  }

 private:
  Log& log_;
  OffsetRange range_;
  LogOffset next_;
  Log::Record lent_;
  bool resting_ = false;
};

class SimReader final : public log::Reader {
 public:
  explicit SimReader(Log& log) : log_(log) {}

  Result<log::Bounds> control_bounds() override {
    TRY(call());
    return log::Bounds{0, end()};
  }
  Status seek_control(LogOffset offset) override {
    TRY(call());
    if (offset > end()) return fail(ErrorCode::refused, "beyond the end of the manifest topic");
    next_ = offset;
    return {};
  }
  Result<std::optional<log::ControlEntry>> next_control(Millis wait) override {
    TRY(call());
    World& world = log_.world_;
    if (world.random.percent(kFallsBehindPercent)) {
      behind_until_ = world.now() + Millis(static_cast<int64_t>(world.random.below(kBehindMs)));
    }
    const auto sees = [&] { return next_ < end() && world.now() >= behind_until_; };
    if (!sees() && wait > Millis(0)) {
      world.wait(wait, [&] { return interrupted_ || sees(); });
      if (interrupted_) return cancelled();
    }
    if (!sees()) return std::optional<log::ControlEntry>();
    const LogOffset at = next_++;
    return std::optional<log::ControlEntry>(
        log::ControlEntry{at, log_.control_[static_cast<size_t>(at)]});
  }
  Result<log::ControlEntry> control_at(LogOffset offset) override {
    TRY(call());
    if (offset < 0 || offset >= end()) return fail(ErrorCode::refused, "no such control record");
    return log::ControlEntry{offset, log_.control_[static_cast<size_t>(offset)]};
  }
  Result<std::unique_ptr<log::RangeCursor>> open(const OffsetRange& range) override {
    TRY(call());
    return std::unique_ptr<log::RangeCursor>(std::make_unique<SimCursor>(log_, range));
  }
  void interrupt() override { interrupted_ = true; }

 private:
  static tl::unexpected<Error> cancelled() {
    return fail(ErrorCode::cancelled, "reading was interrupted");
  }
  Status call() {
    log_.world_.step();
    if (interrupted_) return cancelled();
    if (log_.world_.fault("read fails", log_.profile_.call_fails)) return lost("reading the log");
    return {};
  }
  LogOffset end() const { return static_cast<LogOffset>(log_.control_.size()); }

  Log& log_;
  LogOffset next_ = 0;
  SteadyTime behind_until_{};
  bool interrupted_ = false;
};

Result<std::unique_ptr<log::Producer>> Log::producer() {
  world_.step();
  if (world_.fault("producer fails", profile_.call_fails)) return lost("making a producer");
  return std::unique_ptr<log::Producer>(std::make_unique<SimProducer>(*this));
}

Result<std::unique_ptr<log::Reader>> Log::reader() {
  world_.step();
  if (world_.fault("read fails", profile_.call_fails)) return lost("making a reader");
  return std::unique_ptr<log::Reader>(std::make_unique<SimReader>(*this));
}

}  // namespace millrace::sim
