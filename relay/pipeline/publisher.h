// Publisher: turns a stream of whole source transactions into published commit groups.
//
//   open ──seal──► rows pending ──GroupDurable──► rows durable ──append_control──► manifest sent
//        ──ControlDurable──► manifest durable ──read back without a foreign claim──►
//        acknowledgeable
//
// Only the last step lets the slot forget. Steps of docs/model/publishing.pml: claim() is `claim`
// and `last_published`, row() is `row`, send_manifests() `send_manifests`, read_back() `read_back`:
// without it, ACK_BLIND.
//
// Invariant: manifests are sent in source order, each continuing where the one before ended; a
// manifest is sent when every record and schema it names is durable, never before. Any error ends
// this publisher: destroy it and claim again with a new slot connection. One thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_map>

#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/event/change.h"
#include "relay/event/manifest.h"
#include "relay/log/log.h"

namespace millrace::pipeline {

// A manifest, and where it stands.
struct Published {
  LogOffset offset = -1;
  Manifest manifest;
};

// Where a manifest was once read as valid: a reader may begin there, if it still stands there.
struct ManifestHint {
  LogOffset offset = -1;
  Token token;
};

struct PublisherOptions {
  std::string pipeline;
  std::string slot;
  std::string publisher;  // who we are, for people
  std::string system_identifier;
  uint32_t timeline = 0;
  uint32_t epoch = 1;
  uint64_t group_rows = 10'000;  // a group is closed at the commit that reaches a limit
  size_t group_bytes = 8U << 20;
  size_t group_partitions = 1024;  // a reader merges all of a group's
  Millis group_wait{5};            // or when its first row is this old
  // While the source is far ahead: so many rows share a manifest, its fsync and its way back.
  Millis group_wait_behind{100};
  size_t groups_in_flight = 4;       // while this many wait for the log, small groups go on growing
  Millis schema_refresh{3'600'000};  // schemas are repeated, so that retention never removes them
  std::function<std::string(const TableSchema&)> topic_of;
  // Called for each manifest of ours that was read back, in order; may be empty.
  std::function<void(const Published&)> on_published;
};

// Where the manifest topic is read from: its start, wherever retention has put that, or a manifest
// that is known to be valid.
struct ReadingStart {
  LogOffset offset = 0;
  bool valid_manifest = false;
};

// Reads the manifest topic from `from` up to `end` and returns the last valid manifest; nullopt
// when there is none.
Result<std::optional<Published>> last_published(log::Reader& reader, ReadingStart from,
                                                LogOffset end, std::stop_token stop);

// A group on its way: open until it is closed, then in flight until it is read back.
struct CommitGroup {
  log::GroupId id = 0;
  Manifest manifest;
  std::vector<TableSchemaPtr> tables;
  size_t bytes = 0;
  SteadyTime opened_at;
  bool rows_durable = false;
  bool sent = false;
  uint64_t ticket = 0;  // of its manifest, once sent
};

class Publisher {
 public:
  Publisher(log::Log& log, const Clock& clock, PublisherOptions options, std::stop_token stop);

  // Appends our claim and reads the topic back up to it. REQUIRES: the slot is held by this
  // attempt. `hint`: to read less; a wrong one costs nothing. Returns
  // what is published, nullopt when nothing was. Errors: those of the log.
  Result<std::optional<Published>> claim(const std::optional<ManifestHint>& hint);

  // Where the next group continues from; sets the chain. `origin`: publish it at once as the origin
  // of a stream (see Manifest::origin); `announce`: publish it as an empty manifest.
  Status begin_at(const Watermark& watermark, bool announce, bool origin);

  // One row of the open transaction; waits (polling) while the log's budget is used up.
  Status row(const Change& change, const TableSchemaPtr& table, TimeMicros commit_time);
  // The open transaction ends here; `last` is the watermark with it contained.
  Status commit(const Watermark& last);
  // Nothing of ours stands before `last`: moves the watermark with an empty manifest.
  Status progress(const Watermark& last);

  // Closes the open group when it is due, sends manifests, reads back. `idle`: the source has
  // nothing more right now. Waits up to `wait` for the log when something is in flight. Errors:
  // retryable when another publisher of this slot has claimed, refused when one of another slot
  // has.
  Status tick(bool idle, Millis wait);

  // The source is far ahead: its rows are late anyway, and larger groups catch up sooner.
  void set_far_behind(bool far_behind) { far_behind_ = far_behind; }

  bool in_flight() const { return !groups_.empty(); }
  bool in_transaction() const { return in_transaction_; }
  // The watermark after everything handed in, published or not.
  const Watermark& head() const { return head_; }
  // The last manifest of ours that was read back as valid.
  const std::optional<Published>& acknowledgeable() const { return acknowledgeable_; }
  Token token() const { return token_; }

 private:
  struct SchemaState {
    LogOffset offset = -1;  // -1: on its way
    SteadyTime published_at;
  };

  CommitGroup& open_group();
  void close_group();
  bool group_is_full() const;
  Status use_schema(CommitGroup& group, const TableSchemaPtr& table);
  Status pump(Millis wait);
  Status handle(const log::ProducerEvent& event);
  Status send_manifests();
  Status read_back();
  Result<ReadingStart> start_of_reading(const std::optional<ManifestHint>& hint);
  bool fill_schemas(CommitGroup& group) const;
  Status send_control(const ControlRecord& record, uint64_t* ticket);

  log::Log& log_;
  const Clock& clock_;
  PublisherOptions options_;
  std::stop_token stop_;
  std::unique_ptr<log::Producer> producer_;
  std::unique_ptr<log::Reader> reader_;

  Token token_;
  Watermark head_;
  bool far_behind_ = false;
  bool in_transaction_ = false;  // rows were handed in whose commit was not
  std::optional<CommitGroup> open_;
  std::deque<CommitGroup> groups_;  // sealed, until read back
  log::GroupId next_group_ = 1;
  uint64_t next_ticket_ = 1;
  std::unordered_map<uint64_t, SchemaState> schemas_;      // by fingerprint
  std::unordered_map<uint64_t, uint64_t> schema_tickets_;  // ticket → fingerprint
  std::optional<Published> acknowledgeable_;

  // The last row's table, to look topic and schema up once a run of rows.
  TableSchemaPtr last_table_;
  log::GroupId last_table_group_ = 0;
  std::string last_topic_;
  std::string key_;
  std::string value_;
};

}  // namespace millrace::pipeline
