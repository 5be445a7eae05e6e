// The part of Capture that streams: frames to the publisher, and back what the slot may forget.
#include <algorithm>

#include "relay/base/failpoint.h"
#include "relay/pipeline/capture_assembly.h"

namespace millrace::pipeline {
namespace {

constexpr int kFramesBetweenTicks = 512;
constexpr Millis kIdleWait{100};
constexpr Millis kInFlightWait{1};
constexpr Millis kAwaySlice{5};
constexpr Millis kFinishTimeout{2000};
constexpr Millis kKeepaliveEvery{20};

}  // namespace

Status Capture::handle_frame(const source::Frame& frame) {
  MILLRACE_FAILPOINT(capture_receive);
  source_end_ = std::max(source_end_, frame.server_wal_end);
  pace_.received(frame);
  if (frame.kind == source::Frame::Kind::data) return decoder_->decode(frame.payload, *assembly_);
  // Every commit before this place has been received, and is in the publisher's hands. What is open
  // and streamed commits behind it; the slot keeps the WAL that it needs, whatever we confirm.
  if (!decoder_->in_transaction()) idle_end_ = std::max(idle_end_, frame.server_wal_end);
  return {};
}

// The source has nothing of ours before idle_end_: an empty manifest says so, so that an idle slot
// lets go of WAL that others write, and the target knows that it is up to date. At once where a
// message in the WAL asked for it: who wrote it waits.
Status Capture::make_progress() {
  if (decoder_->in_transaction() || publisher_->in_transaction()) return {};
  Watermark next = publisher_->head();
  const Lsn asked = assembly_->asked_to();
  const Lsn end = std::max(idle_end_, asked);
  if (end <= next.end_lsn) return {};
  const bool wanted = asked > next.end_lsn ||
                      (options_.goal && next.end_lsn < *options_.goal && end >= *options_.goal);
  if (!wanted && clock_.now() - last_progress_ < options_.progress_interval) return {};
  last_progress_ = clock_.now();
  next.end_lsn = end;
  return publisher_->progress(next);
}

void Capture::tell_board() {
  if (source_end_) board_.source_end(source_end_);
  assembly_->tell_board();
}

// Up to a tick's frames; true when the socket was found empty.
Result<bool> Capture::take_frames(source::SlotStream& replication) {
  bool empty = false;
  for (int i = 0; i < kFramesBetweenTicks && !empty; ++i) {
    TRY_ASSIGN(const auto frame, replication.next(Millis(0)));
    if (frame) {
      TRY(handle_frame(*frame));
    } else {
      empty = true;
    }
  }
  tell_board();
  return empty;
}

// The time that CatchUpPace asks for belongs to the log: what it has made durable is published and
// acknowledged meanwhile, and a stop is heard. The slot's connection has its own thread to answer.
Status Capture::stay_away(source::SlotStream& replication, Millis wait, std::stop_token stop) {
  const auto until = clock_.now() + wait;
  while (!stop.stop_requested() && !shared_.halt()) {
    const auto left = std::chrono::duration_cast<Millis>(until - clock_.now());
    if (left <= Millis(0)) break;
    const Millis slice = std::min(left, kAwaySlice);
    const bool waited = publisher_->in_flight();
    TRY(publisher_->tick(false, slice));
    acknowledge(replication);
    if (!waited) clock_.sleep_for(stop, left);
  }
  return {};
}

Status Capture::stream(source::SlotStream& replication, std::stop_token stop) {
  while (!stop.stop_requested()) {
    if (const auto why = shared_.halt()) TRY(wind_down(replication, stop, *why));
    TRY_ASSIGN(bool idle, take_frames(replication));
    const bool unhurried = shared_.stream_waits();
    publisher_->set_far_behind(unhurried || pace_.far_behind());
    Millis away{0};
    if (idle) away = unhurried ? options_.pace.wait : pace_.next_wait();
    if (away > Millis(0)) {
      TRY(stay_away(replication, away, stop));
      idle = false;  // groups are closed by their size or age
    }
    TRY(make_progress());
    TRY(publisher_->tick(idle, idle ? kInFlightWait : Millis(0)));
    acknowledge(replication);
    if (options_.end_at_goal && published_goal()) return {};
    if (!idle || publisher_->in_flight()) continue;
    TRY(repeat_when_quiet());
    Millis wait = kIdleWait;
    if (options_.goal && publisher_->head().end_lsn < *options_.goal) {
      wait = kKeepaliveEvery;
      if (clock_.now() - last_keepalive_request_ >= kKeepaliveEvery) {
        replication.request_keepalive();
        last_keepalive_request_ = clock_.now();
      }
    }
    TRY_ASSIGN(const auto frame, replication.next(wait));
    if (frame) TRY(handle_frame(*frame));
    tell_board();
  }
  return {};
}

// Retention must never empty the manifest topic: the last manifest is what a restart goes on from.
Status Capture::repeat_when_quiet() {
  if (clock_.now() - last_published_at_ < options_.repeat_interval) return {};
  if (publisher_->in_transaction()) return {};
  last_published_at_ = clock_.now();
  return publisher_->progress(publisher_->head());
}

bool Capture::published_goal() const {
  const auto& last = publisher_->acknowledgeable();
  return options_.goal && last && last->manifest.last.end_lsn >= *options_.goal;
}

void Capture::note_published(const Published& group) {
  options_.manifest_hint = ManifestHint{group.offset, group.manifest.token};
  board_.published(group.manifest.last);
  board_.count_published(group.manifest.rows, group.manifest.transactions);
  last_published_at_ = clock_.now();
  if (options_.on_published) options_.on_published(group);
}

void Capture::acknowledge(source::SlotStream& replication) {
  const auto& last = publisher_->acknowledgeable();
  if (!last) return;
  Watermark durable = last->manifest.last;
  if (options_.acknowledge_applied) {
    const auto applied = shared_.applied();
    if (!applied) return;
    if (applied->end_lsn < durable.end_lsn) durable = *applied;
  }
  if (durable.end_lsn <= acknowledged_) return;
  acknowledged_ = durable.end_lsn;
  MILLRACE_FAILPOINT_HERE(capture_acknowledge);
  replication.set_flushed(durable.end_lsn);
  board_.acknowledged(durable);
  if (options_.on_acknowledged) options_.on_acknowledged(durable, *last);
}

// A clean stop: what is on its way gets a moment to become durable, so that less comes again.
void Capture::finish(source::SlotStream& replication) {
  const auto deadline = clock_.now() + kFinishTimeout;
  while (publisher_->in_flight() && clock_.now() < deadline) {
    if (auto ticked = publisher_->tick(true, Millis(20)); !ticked) break;
  }
  acknowledge(replication);
  replication.stop();
}

}  // namespace millrace::pipeline
