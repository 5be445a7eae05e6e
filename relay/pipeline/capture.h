// Capture: reads the slot, publishes what it sends, and tells it what it may forget.
//
//   attempt: slot taken ─► claim, read back ─► decide_resume ─► stream ─► error ─► wait ─► attempt
//   …
//   halted (Shared::halt): reads no more, acknowledges what it can ─► "stopped" ─► attempt …
//
// Every attempt is a new slot connection and therefore a new claim (docs/model/publishing.pml:
// `start_slot` before `claim`, or CLAIM_FIRST loses; under the old claim, KEEP_TOKEN doubles).
// Transactions that the log already holds are dropped by position. take_slot() is the model's
// `start_slot`, `claim` and `decide_resume`, acknowledge() its `acknowledge`.
// Invariant: the slot is acknowledged only up to a manifest of ours that was read back, and with
// `acknowledge_applied` only up to what the target has applied, whichever is less.
// One thread (the one that calls run).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "relay/base/backoff.h"
#include "relay/base/clock.h"
#include "relay/base/result.h"
#include "relay/decode/decoder.h"
#include "relay/log/log.h"
#include "relay/pipeline/publisher.h"
#include "relay/pipeline/resume.h"
#include "relay/pipeline/shared.h"
#include "relay/pipeline/source_guard.h"
#include "relay/pipeline/spilled_transactions.h"
#include "relay/pipeline/status_board.h"
#include "relay/source/catalog.h"
#include "relay/source/catch_up_pace.h"
#include "relay/source/options.h"
#include "relay/source/slot_source.h"

namespace millrace::pipeline {

struct CaptureOptions {
  source::Options source;
  std::shared_ptr<source::SlotSource> slots;  // empty: the server that `source` names
  // topic_of is asked only for tables that `is_ours` accepts; identity fields are filled in by
  // capture.
  PublisherOptions publisher;
  std::function<bool(const TableSchema&)> is_ours;
  bool acknowledge_applied = false;
  bool target_known = false;  // an Apply in this process reads the target
  std::string spill_folder;   // for open transactions; with source.streaming
  Millis slot_wait{15'000};   // for a slot that another process holds
  source::CatchUpPace::Rule pace;
  RetainedWalLimit retained;          // `stop`: Shared::halt() ends the reading
  Millis progress_interval{1000};     // at most one empty manifest in this time
  Millis repeat_interval{3'600'000};  // an idle stream repeats its last manifest
  Millis stopped_retry{3000};
  bool exit_on_stop = false;
  std::optional<Lsn> goal;   // ask the source for progress until the watermark reaches it
  bool end_at_goal = false;  // run() returns once the published watermark has reached it
  std::optional<ManifestHint> manifest_hint;  // to read less on start
  // Called after each manifest that was read back.
  std::function<void(const Published&)> on_published;
  // Called when the slot was told more, with the last manifest that was read back.
  std::function<void(const Watermark&, const Published&)> on_acknowledged;
};

class Capture {
 public:
  Capture(log::Log& log, const Clock& clock, CaptureOptions options, Shared& shared,
          StatusBoard& board);
  ~Capture();

  // Returns when stopped or at the goal. Errors: refused, config, corruption, fatal; bad_data with
  // exit_on_stop.
  Status run(std::stop_token stop);

 private:
  class Assembly;  // hands decoded events to the publisher

  Status attempt(std::stop_token stop);
  Result<ResumePoint> take_slot(source::SlotStream& replication, std::stop_token stop);
  Status make_decoder(uint32_t timeline, std::stop_token stop);
  Status start_slot(source::SlotStream& replication, std::stop_token stop);
  bool may_acknowledge_more(Lsn confirmed) const;
  Status let_slot_catch_up(source::SlotCatalog& catalog, std::stop_token stop);
  Status wind_down(source::SlotStream& replication, std::stop_token stop, const Error& why);
  Status stream(source::SlotStream& replication, std::stop_token stop);
  Status handle_frame(const source::Frame& frame);
  void tell_board();
  Result<bool> take_frames(source::SlotStream& replication);
  Status stay_away(source::SlotStream& replication, Millis wait, std::stop_token stop);
  Status make_progress();
  Status repeat_when_quiet();
  void note_published(const Published& group);
  void acknowledge(source::SlotStream& replication);
  void finish(source::SlotStream& replication);
  bool published_goal() const;

  log::Log& log_;
  const Clock& clock_;
  CaptureOptions options_;
  Shared& shared_;
  StatusBoard& board_;

  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<SpilledTransactions> open_transactions_;  // outlives the decoder
  std::unique_ptr<decode::Decoder> decoder_;
  std::unique_ptr<Assembly> assembly_;
  source::CatchUpPace pace_;
  Lsn source_end_;  // the highest place in the WAL that the source has spoken of
  Lsn idle_end_;    // of the newest keepalive outside a transaction
  SteadyTime last_progress_;
  SteadyTime last_keepalive_request_;
  SteadyTime last_published_at_;
  Lsn acknowledged_;
  bool begun_ = false;            // the stream was reached once, so the config fits
  std::optional<Lsn> halted_at_;  // the slot's confirmed LSN, when a halted attempt last took it
  Backoff backoff_;
};

}  // namespace millrace::pipeline
