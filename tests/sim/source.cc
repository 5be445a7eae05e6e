#include "tests/sim/source.h"

#include <algorithm>

#include "relay/base/mutation.h"
#include "relay/source/catalog.h"
#include "relay/source/replication.h"
#include "tests/unit/decode/pgoutput_builder.h"

namespace millrace::sim {
namespace pg = millrace::testing;

// Sooner than a successor stops waiting for the slot.
constexpr Millis kNoticedAfter{5000};
constexpr uint64_t kPostgresEpochMicros = 946'684'800'000'000ULL;

Source::Source(World& world, const Profile& profile)
    : world_(world), profile_(profile), workload_(world.random), states_{empty_state()} {}

void Source::commit() {
  Random& random = world_.random;
  Transaction transaction;
  State state = states_.back();
  const uint64_t rows =
      random.percent(8) ? random.between(8, 20) : random.between(1, profile_.rows_max);
  transaction.rows = workload_.transaction(rows, state);
  if (transaction.rows.empty()) return;
  // Often the commit record begins where the one before it ends.
  transaction.commit =
      random.percent(50) ? wal_end_ : Lsn{wal_end_.value + random.between(1, 9) * 8};
  transaction.end = Lsn{transaction.commit.value + random.between(1, 6) * 8};
  transaction.time = world_.wall();
  wal_end_ = transaction.end;
  world_.trace("source: transaction {} commits at {}..{}, {} rows", transactions_.size() + 1,
               to_string(transaction.commit), to_string(transaction.end), transaction.rows.size());
  transactions_.push_back(std::move(transaction));
  states_.push_back(std::move(state));
}

void Source::other_wal() { wal_end_.value += world_.random.between(1, 20) * 8; }

size_t Source::contained(Lsn end) const {
  const auto first = std::partition_point(transactions_.begin(), transactions_.end(),
                                          [&](const Transaction& t) { return t.commit < end; });
  return static_cast<size_t>(first - transactions_.begin());
}

void Source::push(Backend& backend, bool keepalive, std::string payload, Lsn end) {
  backend.sent.emplace_back(keepalive, std::move(payload));
  backend.sent_end.push_back(end);
  backend.sent_up_to = std::max(backend.sent_up_to, end);
}

// The walsender: a transaction at a time, and a keepalive when it has nothing more.
void Source::send(Backend& backend) {
  if (!backend.open) return;
  if (backend.next == transactions_.size()) {
    if (!backend.keepalive_wanted && !world_.random.percent(15)) return;
    backend.keepalive_wanted = false;
    push(backend, true, {}, wal_end_);
    return;
  }
  const Transaction& transaction = transactions_[backend.next++];
  const uint64_t time = static_cast<uint64_t>(transaction.time.value) - kPostgresEpochMicros;
  push(backend, false, pg::begin(transaction.commit.value, time), transaction.commit);
  for (const auto& [touched, message] : transaction.rows) {
    for (const size_t table : touched) {
      if (backend.described[table]) continue;
      backend.described[table] = true;
      push(backend, false, relation(table), Lsn{});
    }
    push(backend, false, message, transaction.commit);
  }
  push(backend, false, pg::commit(transaction.commit.value, transaction.end.value, time),
       transaction.end);
}

void Source::confirm(Backend& backend) {
  if (!backend.open || backend.flushed <= confirmed_) return;
  confirmed_ = backend.flushed;
  world_.trace("source: slot forgets up to {}", to_string(confirmed_));
  // What must be kept is what commits before it; that it reaches further into idle WAL is no
  // matter.
  const Lsn kept = durable();
  if (contained(confirmed_) > contained(kept)) {
    world_.violation("I5", fmt::format("the slot forgot up to {}, but only {} is durable",
                                       to_string(confirmed_), to_string(kept)));
  }
}

void Source::deliver_acknowledgements() {
  if (owner_) confirm(*owner_);
}

void Source::close(Backend& backend) {
  backend.open = false;
  if (owner_.get() == &backend) owner_.reset();
}

void Source::notice_the_dead() {
  if (owner_ && (owner_->client_gone || owner_->client->killed)) close(*owner_);
}

void Source::terminate() {
  if (!owner_) return;
  world_.trace("source: the slot's connection is terminated");
  // What the client has not got yet may be on its way, or not.
  const size_t arrives = world_.random.below(owner_->sent.size() + 1);
  owner_->sent.resize(arrives);
  owner_->sent_end.resize(arrives);
  close(*owner_);
}

void Source::crash() {
  terminate();
  confirmed_ = saved_;
  world_.trace("source: crash; the slot stands at {} again", to_string(confirmed_));
}

void Source::save_slot() { saved_ = confirmed_; }

// The client's end of a replication connection.
class SimStream final : public source::SlotStream {
 public:
  explicit SimStream(Source& source) : source_(source), world_(source.world_) {}
  ~SimStream() override {
    if (!backend_) return;
    backend_->client_gone = true;
    backend_->gone_at = world_.now();
    if (!backend_->client->killed) source_.close(*backend_);
  }

  Status connect() override { return call("connecting to the source"); }

  Result<source::Identity> identify() override {
    TRY(call("IDENTIFY_SYSTEM"));
    return source::Identity{kSystemIdentifier, kTimeline, source_.wal_end_, "shop"};
  }

  Status start(Lsn) override {
    TRY(call("START_REPLICATION"));
    if (source_.owner_ && world_.now() - source_.owner_->gone_at > kNoticedAfter) {
      source_.notice_the_dead();
    }
    busy_ = source_.owner_ != nullptr;
    if (busy_) return lost("the slot is active for another process");
    backend_ = std::make_shared<Source::Backend>();
    backend_->client = world_.current()->process;
    backend_->next = source_.contained(source_.confirmed_);
    backend_->described.resize(tables().size());
    source_.owner_ = backend_;
    world_.trace("slot taken at {}", to_string(source_.confirmed_));
    return {};
  }

  bool slot_is_busy() const override { return busy_; }

  Result<std::optional<source::Frame>> next(Millis wait) override {
    world_.step();
    if (world_.fault("slot connection lost", source_.profile_.call_fails)) {
      source_.close(*backend_);
      return lost("the source closed the connection");
    }
    if (backend_->sent.empty() && world_.random.percent(70)) source_.send(*backend_);
    if (backend_->sent.empty() && wait > Millis(0)) {
      world_.wait(wait, [this] {
        return !backend_->open || backend_->next < source_.transactions_.size();
      });
      source_.send(*backend_);
    }
    if (backend_->sent.empty()) {
      if (!backend_->open) return lost("the source ended the connection");
      return std::optional<source::Frame>();
    }
    return take();
  }

  void set_flushed(Lsn lsn) override {
    backend_->flushed = std::max(backend_->flushed, lsn);
    if (world_.random.percent(30)) source_.confirm(*backend_);
    if (lsn <= std::max(backend_->sent_up_to, source_.confirmed_)) return;
    world_.violation("I5", "acknowledged " + to_string(lsn) + ", beyond what was sent");
  }

  Status failure() const override { return {}; }
  void request_keepalive() override { backend_->keepalive_wanted = true; }

  void stop() override {
    world_.step();
    source_.confirm(*backend_);
    source_.close(*backend_);
  }

 private:
  Status call(const char* what) {
    world_.step();
    if (world_.fault("source call fails", source_.profile_.call_fails)) return lost(what);
    return {};
  }

  std::optional<source::Frame> take() {
    payload_ = std::move(backend_->sent.front().second);
    source::Frame frame;
    frame.kind =
        backend_->sent.front().first ? source::Frame::Kind::keepalive : source::Frame::Kind::data;
    frame.wal_start = frame.server_wal_end = backend_->sent_end.front();
    frame.sent_at = world_.wall();
    frame.payload = payload_;
    if (mutated("ack_received")) set_flushed(frame.server_wal_end);
    backend_->sent.pop_front();
    backend_->sent_end.pop_front();
    return frame;
  }

  Source& source_;
  World& world_;
  std::shared_ptr<Source::Backend> backend_;
  bool busy_ = false;
  std::string payload_;
};

class SimCatalog final : public source::SlotCatalog {
 public:
  explicit SimCatalog(Source& source) : source_(source) {}
  Status connect() override { return call(); }
  Result<std::optional<source::SlotInfo>> slot(const std::string& name) override {
    TRY(call());
    source::SlotInfo slot;
    slot.name = name;
    slot.plugin = "pgoutput";
    slot.active = source_.owner_ != nullptr;
    slot.confirmed_flush_lsn = source_.confirmed_;
    slot.wal_status = "reserved";
    return std::optional<source::SlotInfo>(slot);
  }
  Result<std::vector<std::string>> primary_key(const std::string&, const std::string&) override {
    TRY(call());
    return std::vector<std::string>();  // asked for tables with REPLICA IDENTITY FULL: tags
  }

 private:
  Status call() {
    source_.world_.step();
    if (source_.world_.fault("catalog call fails", source_.profile_.call_fails)) {
      return lost("reading the catalog");
    }
    return {};
  }
  Source& source_;
};

std::shared_ptr<source::SlotSource> Source::slots() {
  class Slots final : public source::SlotSource {
   public:
    explicit Slots(Source& source) : source_(source) {}
    std::unique_ptr<source::SlotStream> stream() override {
      return std::make_unique<SimStream>(source_);
    }
    std::unique_ptr<source::SlotCatalog> catalog() override {
      return std::make_unique<SimCatalog>(source_);
    }

   private:
    Source& source_;
  };
  return std::make_shared<Slots>(*this);
}

}  // namespace millrace::sim
