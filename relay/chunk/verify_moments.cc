// Verify: the places in the stream at which both sides can be compared, and the waiting for them.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "relay/base/logging.h"
#include "relay/base/mutation.h"
#include "relay/chunk/verify.h"

namespace millrace::chunk {
namespace {

constexpr Millis kFirstLook{2};
constexpr Millis kLongestLook{100};
constexpr Millis kSayAfter{2000};

std::string seconds(Millis wait) { return fmt::format("{:.3g} s", double(wait.count()) / 1000); }

}  // namespace

Status Verify::pause(Millis wait) {
  if (wait > Millis(0) && !clock_.sleep_for(stop_, wait)) {
    return fail(ErrorCode::cancelled, "stopped");
  }
  return {};
}

bool Verify::changing(const std::string& mark) const {
  return mark >= floor_version_ && !mutated("judge_changing");
}

Result<bool> Verify::take_floor() {
  TRY_ASSIGN(const bool quiet, look_at_jobs(true));
  if (!quiet) return false;
  TRY_ASSIGN(place_, sides_.target_clock.applied());
  TRY_ASSIGN(const auto mark, sides_.source_clock.mark());
  TRY_ASSIGN(const bool seen, wait_until_seen(mark));
  if (!seen) return false;
  floor_ = mark.lsn;
  floor_version_ = to_hex(make_version(place_.epoch, floor_, 0));
  if (!report_.from) report_.from = floor_;
  if (!now_.from) now_.from = floor_;
  report_.epoch = place_.epoch;
  return true;
}

Result<bool> Verify::wait_until_seen(const compare::SourceClock::Mark& mark) {
  const SteadyTime began = clock_.now();
  Millis look = kFirstLook;
  bool said = false;
  while (true) {
    TRY_ASSIGN(const bool seen, sides_.source_clock.seen(mark));
    if (seen) return true;
    const auto waited = std::chrono::duration_cast<Millis>(clock_.now() - began);
    if (waited >= options_.wait || (waited >= kSayAfter && !said)) {
      TRY_ASSIGN(const std::string who, sides_.source_clock.waiting_for(mark));
      if (waited >= options_.wait) {
        undecided_ =
            fmt::format("what the source had committed could not all be seen within {}: {}",
                        seconds(options_.wait), who);
        return false;
      }
      logging::info("verify waits for the source", {{"table", now_.table}, {"waiting_for", who}});
      said = true;
    }
    TRY(pause(look));
    look = std::min(look * 2, kLongestLook);
  }
}

// The position moves while the relay works, however far behind it is.
Result<bool> Verify::wait_until_applied(Lsn end) {
  TRY_ASSIGN(auto place, sides_.target_clock.applied());
  if (place.applied >= end) return true;
  TRY(sides_.source_clock.nudge());
  SteadyTime moved = clock_.now();
  Millis look = kFirstLook;
  while (true) {
    TRY(pause(look));
    look = std::min(look * 2, kLongestLook);
    TRY_ASSIGN(const auto next, sides_.target_clock.applied());
    if (next.applied >= end) return true;
    if (next.applied != place.applied) moved = clock_.now();
    place = next;
    if (clock_.now() - moved < options_.wait) continue;
    undecided_ = fmt::format(
        "the target stands at {} and did not move for {}; what was read of the source needs {}: "
        "does `millrace run` run, and what does `millrace status` say?",
        to_string(place.applied), seconds(options_.wait), to_string(end));
    return false;
  }
}

Result<bool> Verify::open_target() {
  TRY_ASSIGN(const Lsn end, sides_.source_clock.end_of_wal());
  TRY_ASSIGN(const bool applied, wait_until_applied(end));
  if (!applied) return false;
  TRY_ASSIGN(place_, sides_.target_clock.begin());
  return true;
}

// True when what was read in between may be judged.
Result<bool> Verify::close_target() {
  sides_.target_clock.end();
  report_.to = std::max(report_.to, place_.applied);
  now_.to = std::max(now_.to, place_.applied);
  return look_at_jobs(false);
}

// Rows that are copied beside the stream may come from behind what the stream has brought. What
// earlier jobs copied was read before the floor was taken, so the target has applied beyond it.
Result<bool> Verify::look_at_jobs(bool first) {
  if (!sides_.jobs) return true;
  TRY_ASSIGN(const auto jobs, sides_.jobs());
  if (first) jobs_before_.clear();
  for (const sink::CopyJob& job : jobs) {
    if (job.table != now_.table) continue;
    const bool known =
        std::find(jobs_before_.begin(), jobs_before_.end(), job.id) != jobs_before_.end();
    if (job.open() || (!first && !known)) {
      undecided_ =
          fmt::format("rows of it are being copied (job {}); verify when that is done", job.id);
      return false;
    }
    if (first) jobs_before_.push_back(job.id);
  }
  return true;
}

}  // namespace millrace::chunk
