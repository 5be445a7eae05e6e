#include "relay/pipeline/publisher.h"

#include <algorithm>
#include <utility>

#include "relay/base/failpoint.h"
#include "relay/base/logging.h"
#include "relay/base/mutation.h"
#include "relay/pipeline/claim_tracker.h"
#include "relay/wire/control_codec.h"
#include "relay/wire/record_key.h"
#include "relay/wire/row_codec.h"

namespace millrace::pipeline {
namespace {

constexpr Millis kPollStep{20};  // how long a full or claiming publisher waits between looks
constexpr Millis kClaimTimeout{60'000};

// Who holds the slot decides: a claim may come late from an attempt that is dead, our own too, and
// the next attempt learns from the slot whether it does. A claim for another slot can not be told
// so.
Error lost_claim(LogOffset offset, const Claim& claim, const std::string& slot) {
  return Error(claim.slot == slot ? ErrorCode::retryable : ErrorCode::refused,
               "another instance began to publish this pipeline: " + claim.publisher +
                   " claimed slot " + claim.slot + " at manifest offset " + std::to_string(offset),
               "stop one of the two instances; the one that holds the slot goes on");
}

}  // namespace

Result<std::optional<Published>> last_published(log::Reader& reader, ReadingStart from,
                                                LogOffset end, std::stop_token stop) {
  std::optional<Published> last;
  ClaimTracker claims;
  if (from.offset >= end) return last;
  TRY(reader.seek_control(from.offset));
  while (true) {
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped while reading manifests");
    TRY_ASSIGN(auto entry, reader.next_control(kPollStep));
    if (!entry) {
      // Offsets may have holes at the end of a range; the bounds say when there is nothing to come.
      TRY_ASSIGN(const auto bounds, reader.control_bounds());
      if (bounds.start >= end) return last;
      continue;
    }
    if (entry->offset >= end) return last;
    auto record = wire::decode_control(entry->value);
    if (!record) {
      return fail(std::move(record).error().at("manifest offset " + std::to_string(entry->offset)));
    }
    if (std::get_if<Claim>(&*record)) claims.on_claim(entry->offset);
    if (auto* manifest = std::get_if<Manifest>(&*record)) {
      // Not the first one of the topic: a zombie's may stand there.
      if (from.valid_manifest && entry->offset == from.offset) claims.trust(manifest->token);
      if (claims.valid(*manifest)) last = Published{entry->offset, std::move(*manifest)};
    }
    if (entry->offset + 1 >= end) return last;
  }
}

Publisher::Publisher(log::Log& log, const Clock& clock, PublisherOptions options,
                     std::stop_token stop)
    : log_(log), clock_(clock), options_(std::move(options)), stop_(std::move(stop)) {}

Status Publisher::send_control(const ControlRecord& record, uint64_t* ticket) {
  *ticket = next_ticket_++;
  return producer_->append_control(*ticket, wire::encode_control(record));
}

Result<std::optional<Published>> Publisher::claim(const std::optional<ManifestHint>& hint) {
  TRY_ASSIGN(producer_, log_.producer());
  TRY_ASSIGN(reader_, log_.reader());
  uint64_t ticket = 0;
  TRY(send_control(Claim{options_.publisher, options_.system_identifier, options_.timeline,
                         options_.slot, clock_.wall()},
                   &ticket));
  const auto deadline = clock_.now() + kClaimTimeout;
  while (token_.value < 0) {
    if (stop_.stop_requested()) return fail(ErrorCode::cancelled, "stopped while claiming");
    if (clock_.now() > deadline) {
      return fail(ErrorCode::retryable, "the log did not confirm our claim within 60 s",
                  "look at the health of " + log_.describe());
    }
    TRY_ASSIGN(const auto events, producer_->poll(kPollStep));
    for (const auto& event : events) {
      const auto* durable = std::get_if<log::ControlDurable>(&event);
      if (durable && durable->ticket == ticket) token_ = Token{durable->offset};
    }
  }
  MILLRACE_FAILPOINT(capture_claim);
  TRY_ASSIGN(const ReadingStart from, start_of_reading(hint));
  TRY_ASSIGN(auto last, last_published(*reader_, from, token_.value, stop_));
  TRY(reader_->seek_control(token_.value + 1));
  return last;
}

Result<ReadingStart> Publisher::start_of_reading(const std::optional<ManifestHint>& hint) {
  TRY_ASSIGN(const auto bounds, reader_->control_bounds());
  const ReadingStart at_start{bounds.start, false};
  if (!hint || hint->offset < bounds.start || hint->offset >= token_.value) return at_start;
  // Another log may stand under the same name by now: only the same manifest counts.
  TRY_ASSIGN(const auto entry, reader_->control_at(hint->offset));
  const auto record = wire::decode_control(entry.value);
  const auto* manifest = record ? std::get_if<Manifest>(&*record) : nullptr;
  if (!manifest || manifest->token != hint->token) return at_start;
  return ReadingStart{hint->offset, true};
}

Status Publisher::begin_at(const Watermark& watermark, bool announce, bool origin) {
  head_ = watermark;
  if (!announce) return {};
  open_group().manifest.origin = origin;
  close_group();
  return tick(true, Millis(0));
}

CommitGroup& Publisher::open_group() {
  if (open_) return *open_;
  open_.emplace();
  open_->id = next_group_++;
  open_->opened_at = clock_.now();
  Manifest& manifest = open_->manifest;
  manifest.token = token_;
  manifest.epoch = options_.epoch;
  manifest.system_identifier = options_.system_identifier;
  manifest.previous = head_;
  manifest.last = head_;
  return *open_;
}

Status Publisher::use_schema(CommitGroup& group, const TableSchemaPtr& table) {
  last_table_ = table;
  last_table_group_ = group.id;
  last_topic_ = options_.topic_of(*table);
  for (const TableSchemaPtr& known : group.tables) {
    if (known->fingerprint == table->fingerprint) return {};
  }
  group.tables.push_back(table);
  SchemaState& state = schemas_[table->fingerprint];
  const auto now = clock_.now();
  const bool fresh =
      state.published_at != SteadyTime{} && now - state.published_at < options_.schema_refresh;
  if (fresh) return {};
  uint64_t ticket = 0;
  TRY(send_control(SchemaRecord{token_, table}, &ticket));
  state = SchemaState{-1, now};
  schema_tickets_[ticket] = table->fingerprint;
  return {};
}

Status Publisher::row(const Change& change, const TableSchemaPtr& table, TimeMicros commit_time) {
  CommitGroup& group = open_group();
  if (last_table_ != table || last_table_group_ != group.id) TRY(use_schema(group, table));
  MILLRACE_FAILPOINT(capture_produce);
  wire::record_key(change, false, key_);
  wire::encode_row({token_, options_.epoch, commit_time}, change, value_);
  while (true) {
    auto queued = producer_->append(group.id, last_topic_, key_, value_);
    if (!queued) {
      return fail(std::move(queued)
                      .error()
                      .at("table " + display_name(*table))
                      .at("position " + to_string(change.position)));
    }
    if (*queued) break;
    if (stop_.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    TRY(pump(kPollStep));
    TRY(read_back());
  }
  in_transaction_ = true;
  group.manifest.rows += 1;
  group.bytes += key_.size() + value_.size();
  return {};
}

Status Publisher::commit(const Watermark& last) {
  MILLRACE_FAILPOINT(capture_commit);
  CommitGroup& group = open_group();
  group.manifest.last = last;
  group.manifest.transactions += 1;
  head_ = last;
  in_transaction_ = false;
  if (group_is_full()) close_group();
  return {};
}

Status Publisher::progress(const Watermark& last) {
  open_group().manifest.last = last;
  head_ = last;
  close_group();
  return {};
}

bool Publisher::group_is_full() const {
  return open_->manifest.rows >= options_.group_rows || open_->bytes >= options_.group_bytes ||
         producer_->partitions_written(open_->id) >= options_.group_partitions;
}

void Publisher::close_group() {
  groups_.push_back(std::move(*open_));
  open_.reset();
  CommitGroup& group = groups_.back();
  // A seal that fails kills the producer, and the next poll reports it.
  if (auto sealed = producer_->seal(group.id); !sealed) {
    logging::warn("log refused to seal a group", {{"error", sealed.error().describe()}});
  }
}

Status Publisher::tick(bool idle, Millis wait) {
  if (open_ && !in_transaction_) {
    const Millis patience = far_behind_ ? std::max(options_.group_wait, options_.group_wait_behind)
                                        : options_.group_wait;
    const bool old = clock_.now() - open_->opened_at >= patience;
    const bool room = groups_.size() < options_.groups_in_flight;
    if (room && (idle || old)) close_group();
  }
  TRY(pump(groups_.empty() ? Millis(0) : wait));
  return read_back();
}

Status Publisher::pump(Millis wait) {
  TRY_ASSIGN(const auto events, producer_->poll(wait));
  for (const auto& event : events) TRY(handle(event));
  return send_manifests();
}

Status Publisher::handle(const log::ProducerEvent& event) {
  if (const auto* rows = std::get_if<log::GroupDurable>(&event)) {
    MILLRACE_FAILPOINT(capture_delivery);
    for (CommitGroup& group : groups_) {
      if (group.id != rows->group) continue;
      group.rows_durable = true;
      group.manifest.ranges = rows->ranges;
      uint64_t count = 0;
      for (const OffsetRange& range : rows->ranges) count += range.rows;
      if (count != group.manifest.rows) {
        return fail(ErrorCode::fatal, "the log reports " + std::to_string(count) +
                                          " durable rows of a group of " +
                                          std::to_string(group.manifest.rows));
      }
    }
    return {};
  }
  const auto& control = std::get<log::ControlDurable>(event);
  const auto schema = schema_tickets_.find(control.ticket);
  if (schema != schema_tickets_.end()) {
    schemas_[schema->second].offset = control.offset;
    schema_tickets_.erase(schema);
  }
  if (!mutated("no_read_back")) return {};
  for (const CommitGroup& group : groups_) {
    if (group.sent && group.ticket == control.ticket) {
      acknowledgeable_ = Published{control.offset, group.manifest};
    }
  }
  return {};
}

bool Publisher::fill_schemas(CommitGroup& group) const {
  group.manifest.schemas.clear();
  for (const TableSchemaPtr& table : group.tables) {
    const auto state = schemas_.find(table->fingerprint);
    if (state == schemas_.end() || state->second.offset < 0) return false;
    group.manifest.schemas.push_back({table->fingerprint, state->second.offset});
  }
  return true;
}

Status Publisher::send_manifests() {
  for (CommitGroup& group : groups_) {
    if (group.sent) continue;
    if (!group.rows_durable || !fill_schemas(group)) return {};
    MILLRACE_FAILPOINT(capture_manifest);
    group.manifest.published_at = clock_.wall();
    TRY(send_control(group.manifest, &group.ticket));
    group.sent = true;
    MILLRACE_FAILPOINT(capture_manifest_sent);
  }
  return {};
}

Status Publisher::read_back() {
  while (true) {
    TRY_ASSIGN(auto entry, reader_->next_control(Millis(0)));
    if (!entry) return {};
    auto record = wire::decode_control(entry->value);
    if (!record) {
      return fail(std::move(record).error().at("manifest offset " + std::to_string(entry->offset)));
    }
    if (const auto* claim = std::get_if<Claim>(&*record)) {
      return fail(lost_claim(entry->offset, *claim, options_.slot));
    }
    auto* manifest = std::get_if<Manifest>(&*record);
    // A void manifest of a publisher that has lost its claim to us: nobody reads it.
    if (!manifest || manifest->token != token_) continue;
    if (groups_.empty() || groups_.front().manifest.last != manifest->last) {
      return fail(
          ErrorCode::fatal,
          "read back a manifest of ours that was not the next one sent: " + describe(*manifest));
    }
    MILLRACE_FAILPOINT(capture_read_back);
    acknowledgeable_ = Published{entry->offset, std::move(*manifest)};
    if (options_.on_published) options_.on_published(*acknowledgeable_);
    groups_.pop_front();
  }
}

}  // namespace millrace::pipeline
