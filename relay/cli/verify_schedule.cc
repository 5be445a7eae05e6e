#include "relay/cli/verify_schedule.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "relay/base/backoff.h"
#include "relay/base/logging.h"
#include "relay/base/thread_name.h"
#include "relay/cli/proof_text.h"
#include "relay/cli/verify_command.h"
#include "relay/cli/wiring.h"

namespace millrace::cli {
namespace {

using config::ProofKind;

constexpr Millis kLookEvery{500};
constexpr Millis kShowEvery{10'000};  // proofs of other processes
constexpr Millis kAgainMost{30'000};  // after a failure, or while tables are copied
constexpr int kShownDays = 400;
constexpr const char* kExisting = "rows when the copies have ended";
constexpr Millis kNever = std::chrono::hours(24 * 365 * 100);

std::string who_of(const std::string& name) { return "schedule: " + name; }

TimeMicros later(TimeMicros at, Millis wait) { return TimeMicros{at.value + wait.count() * 1000}; }

TimeMicros now() { return system_clock().wall(); }

void tell(const std::string& entry, const VerifyResult& result) {
  if (result.outcome == VerifyOutcome::different) {
    logging::warn("source and target differ", {{"entry", entry}, {"what", result.summary}});
  } else if (result.outcome == VerifyOutcome::undecided) {
    logging::warn("not all could be proven", {{"entry", entry}, {"what", result.summary}});
  } else if (!result.subjects.empty()) {
    logging::info("proven equal", {{"entry", entry}});
  }
}

}  // namespace

VerifySchedule::VerifySchedule(const config::Config& config, const pipeline::Shared& shared,
                               pipeline::StatusBoard& board, std::stop_token stop,
                               bool until_caught_up)
    : config_(config),
      shared_(shared),
      board_(board),
      proofs_(impatient(target_options(config, nullptr), own_stop_.get_token())),
      until_caught_up_(until_caught_up),
      entries_(entries_of(config, until_caught_up)),
      on_stop_(std::move(stop), [this] { own_stop_.request_stop(); }),
      thread_([this] { run(); }) {}

VerifySchedule::~VerifySchedule() { own_stop_.request_stop(); }

std::vector<VerifySchedule::Entry> VerifySchedule::entries_of(const config::Config& config,
                                                              bool until_caught_up) {
  std::vector<Entry> out;
  for (const config::ScheduledProof& what : config.verify.schedule) {
    if (until_caught_up) break;
    const std::string name = to_string(what);
    out.push_back({what, name, who_of(name), false, false, {}, {}});
  }
  if (config.backfill.on_existing == config::OnExisting::verify) {
    config::ScheduledProof what;
    what.kind = ProofKind::rows;
    what.every = kNever;
    out.push_back({what, kExisting, who_of(kExisting), true, false, {}, {}});
  }
  return out;
}

void VerifySchedule::run() {
  const std::stop_token stop = own_stop_.get_token();
  name_this_thread("verify");
  SteadyTime show_at{};
  show(entries_.empty() ? "none" : "waiting", "");
  while (!stop.stop_requested()) {
    // Before the target was reached once there is nothing to ask it.
    if (shared_.applied()) {
      if (system_clock().now() >= show_at) {
        show_proofs();
        show_at = system_clock().now() + kShowEvery;
      }
      if (Entry* const entry = next_due()) {
        show("running", entry->name);
        const auto proven = prove(*entry, stop);
        if (stop.stop_requested()) return;
        status_.why = proven ? "" : proven.error().describe();
        if (entry->once) end_once(proven);
        if (!proven) {
          logging::warn("a scheduled proof could not be made",
                        {{"entry", entry->name}, {"error", status_.why}});
          entry->due = later(now(), std::min(entry->what.every, kAgainMost));
        }
        show_proofs();
        show("waiting", "");
        continue;
      }
    }
    sleep_for(stop, kLookEvery);
  }
}

// The one that has waited longest.
VerifySchedule::Entry* VerifySchedule::next_due() {
  Entry* next = nullptr;
  for (Entry& entry : entries_) {
    if (!may_begin(entry) || entry.due > now()) continue;
    if (next == nullptr || entry.due < next->due) next = &entry;
  }
  return next;
}

// Tables may be added, and copied, later.
bool VerifySchedule::may_begin(Entry& entry) const {
  if (!entry.once) return true;
  if (until_caught_up_ ? copies_have_ended_.load() : board_.snapshot().backfill.state == "done") {
    return true;
  }
  entry.due = TimeMicros{};
  return false;
}

VerifyArguments VerifySchedule::arguments(const Entry& entry, TimeMicros at) const {
  VerifyArguments out;
  out.beside_stream = true;
  out.who = entry.who;
  out.max_rate = static_cast<double>(config_.verify.max_rate);
  out.only_invariants = entry.what.kind == ProofKind::invariants;
  out.invariants = out.only_invariants;
  if (entry.what.kind == ProofKind::counts) out.compared = chunk::Compared::keys;
  if (entry.what.kind == ProofKind::drift) out.compared = chunk::Compared::drift;
  if (entry.what.kind == ProofKind::sample) {
    out.sample = fmt::format("{:g}%", entry.what.sample_percent);
  }
  for (const config::TableName& table : entry.what.tables) {
    out.tables.push_back(config::to_string(table));
  }
  for (const auto& [subject, begun] : entry.begun) {
    if (later(begun, entry.what.every) > at) out.proven.insert(subject);
  }
  return out;
}

Status VerifySchedule::prove(Entry& entry, const std::stop_token& stop) {
  if (!entry.known) {
    TRY_ASSIGN(entry.begun, proofs_.begun(entry.who, entry.once));
    entry.known = true;
  }
  const TimeMicros began = now();
  TRY_ASSIGN(const VerifyResult result, run_verify(config_, arguments(entry, began), stop));
  tell(entry.name, result);
  plan_next(entry, result, began);
  if (entry.once && result.outcome == VerifyOutcome::different) {
    existing_ =
        Error(ErrorCode::negative, "rows that were there are not the source's: " + result.summary,
              result.way_out);
  }
  return {};
}

// What may pass is tried again.
void VerifySchedule::end_once(const Status& proven) {
  if (!proven && proven.error().code() == ErrorCode::retryable) return;
  if (!proven) existing_ = proven.error();
  existing_proven_ = true;
}

void VerifySchedule::plan_next(Entry& entry, const VerifyResult& result, TimeMicros began) {
  std::map<std::string, TimeMicros> begun;  // a table that has left the pipeline is forgotten
  for (const std::string& subject : result.left_out) begun[subject] = entry.begun[subject];
  for (const std::string& subject : result.subjects) begun[subject] = began;
  entry.begun = std::move(begun);
  entry.due = later(began, entry.what.every);
  for (const auto& [subject, at] : entry.begun) {
    entry.due = std::min(entry.due, later(at, entry.what.every));
  }
  if (result.is_copying) {
    entry.due = std::min(entry.due, later(now(), std::min(entry.what.every, kAgainMost)));
  }
}

Status VerifySchedule::read_proofs() {
  TRY_ASSIGN(const int64_t newest, proofs_.newest());
  if (newest == newest_) return {};
  TRY_ASSIGN(const auto proofs, proofs_.latest(kShownDays));
  status_.proofs.clear();
  for (const Proof& proof : proofs) status_.proofs.push_back(status_of(proof));
  newest_ = newest;
  return {};
}

void VerifySchedule::show_proofs() {
  const auto read = read_proofs();
  proofs_.close();  // it is asked now and then
  const std::string error = read ? "" : read.error().describe();
  if (!read && error != history_error_) {
    logging::warn("the proofs can not be read", {{"error", error}});
  }
  history_error_ = error;
  board_.verify(status_);
}

void VerifySchedule::show(std::string state, std::string entry) {
  status_.state = std::move(state);
  status_.entry = std::move(entry);
  status_.next.clear();
  for (const Entry& one : entries_) {
    const bool ended = one.once && existing_proven_;
    if (one.name != status_.entry && !ended) status_.next.push_back({one.name, one.due});
  }
  std::stable_sort(status_.next.begin(), status_.next.end(),
                   [](const auto& a, const auto& b) { return a.due < b.due; });
  board_.verify(status_);
}

bool VerifySchedule::may_end() {
  copies_have_ended_ = true;
  const bool waits =
      std::any_of(entries_.begin(), entries_.end(), [](const Entry& entry) { return entry.once; });
  return !waits || existing_proven_;
}

}  // namespace millrace::cli
