#include "relay/cli/backfill_text.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "relay/chunk/backfill.h"
#include "relay/cli/status_text.h"

namespace millrace::cli {
namespace {

using nlohmann::ordered_json;
using sink::CopyJob;
using sink::JobState;

constexpr uint64_t kRowsInAChunk = 50'000;  // what a chunk of narrow rows comes to

std::optional<double> percent(const CopyJob& job) {
  if (job.state == JobState::done) return 100.0;
  if (!job.rows_estimated || *job.rows_estimated == 0) return std::nullopt;
  return std::min(
      100.0, 100.0 * static_cast<double>(job.rows_done) / static_cast<double>(*job.rows_estimated));
}

// No copy is open, and all that they saw is applied: the target is a state of the source.
bool is_consistent(std::span<const CopyJob> jobs, Lsn applied) {
  return std::all_of(jobs.begin(), jobs.end(), [applied](const CopyJob& job) {
    return !job.open() && (job.state != JobState::done || job.consistent_at <= applied);
  });
}

Lsn consistent_since(std::span<const CopyJob> jobs) {
  Lsn out;
  for (const CopyJob& job : jobs) {
    if (job.state == JobState::done) out = std::max(out, job.consistent_at);
  }
  return out;
}

template <typename T>
ordered_json or_null(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json time_or_null(TimeMicros time) {
  return time.value == 0 ? ordered_json(nullptr) : ordered_json(to_string(time));
}

std::string key_text(const std::optional<sink::KeyText>& key) {
  return key ? ordered_json(*key).dump(-1, ' ', false, ordered_json::error_handler_t::replace)
             : std::string();
}

struct Shown {
  std::string state, why;
};

Shown shown(const CopyJob& job, const LiveCopies& live) {
  Shown out{std::string(sink::to_string(job.state)), job.why};
  const bool goes_on = job.state == JobState::waiting || job.state == JobState::running;
  if (!goes_on) return out;
  if (!live) {
    out.why = "no process that applies answers here: `millrace run`";
  } else if (live->table == job.table && live->state != "paused") {
    out = {live->state, live->why};
  } else if (job.state == JobState::waiting) {
    out.why = chunk::kWaitsItsTurn;
  }
  return out;
}

}  // namespace

Result<sink::KeyText> parse_key(std::string_view text) {
  if (!text.starts_with('[')) return sink::KeyText{std::string(text)};
  const auto refused = [&text] {
    return fail(ErrorCode::config, "not a key: " + std::string(text) + "; nothing was changed",
                "write one value, or a JSON array of strings and numbers: '[1,\"a\"]'");
  };
  const auto parsed = ordered_json::parse(text, nullptr, false);
  if (parsed.is_discarded() || !parsed.is_array() || parsed.empty()) return refused();
  sink::KeyText out;
  for (const auto& value : parsed) {
    if (value.is_string()) {
      out.push_back(value.get<std::string>());
    } else if (value.is_number()) {
      out.push_back(value.dump());
    } else {
      return refused();
    }
  }
  return out;
}

std::string jobs_text(std::span<const CopyJob> jobs, Lsn applied, const LiveCopies& live) {
  if (jobs.empty()) return "nothing was copied yet\n";
  std::string out;
  for (const CopyJob& job : jobs) {
    const Shown now = shown(job, live);
    out += fmt::format("{} {} {}: {}, {} rows", job.id, sink::to_string(job.kind), job.table,
                       now.state, job.rows_done);
    if (const auto part = percent(job)) out += fmt::format(" ({:.1f} %)", *part);
    if (job.done_to && job.open()) out += ", up to " + printable(key_text(job.done_to));
    if (job.restarts > 0) out += fmt::format(", begun anew {} times", job.restarts);
    if (!now.why.empty()) out += ": " + printable(now.why);
    if (job.state == JobState::paused) out += "; " + resume_command(job.table);
    out += "\n";
  }
  if (is_consistent(jobs, applied)) {
    out += "the target is a state of the source since " + to_string(consistent_since(jobs)) + "\n";
  } else {
    out += "the target is not a state of the source yet\n";
  }
  return out;
}

std::string jobs_json(std::span<const CopyJob> jobs, Lsn applied, const LiveCopies& live) {
  const bool consistent = is_consistent(jobs, applied);
  ordered_json out = {{"consistent", consistent},
                      {"consistent_since", consistent ? to_string(consistent_since(jobs)) : ""},
                      {"jobs", ordered_json::array()}};
  for (const CopyJob& job : jobs) {
    const Shown now = shown(job, live);
    out["jobs"].push_back(
        {{"job", job.id},
         {"table", job.table},
         {"kind", sink::to_string(job.kind)},
         {"state", sink::to_string(job.state)},
         {"why", now.why},
         {"rows", job.rows_done},
         {"rows_estimated", or_null(job.rows_estimated)},
         {"percent", or_null(percent(job))},
         {"where", job.where},
         {"after", or_null(job.after)},
         {"until", or_null(job.until)},
         {"done_to", or_null(job.done_to)},
         {"replace", job.replace},
         {"restarts", job.restarts},
         {"floor", to_string(job.floor)},
         {"consistent_at",
          job.consistent_at ? ordered_json(to_string(job.consistent_at)) : ordered_json(nullptr)},
         {"who", job.who},
         {"created_at", time_or_null(job.created_at)},
         {"started_at", time_or_null(job.started_at)},
         {"ended_at", time_or_null(job.ended_at)}});
  }
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string planned_text(std::span<const PlannedCopy> copies, bool json) {
  ordered_json list = ordered_json::array();
  std::string text;
  for (const PlannedCopy& copy : copies) {
    std::optional<uint64_t> chunks;
    if (copy.rows) chunks = *copy.rows / kRowsInAChunk + 1;
    list.push_back({{"job", copy.job > 0 ? ordered_json(copy.job) : ordered_json(nullptr)},
                    {"table", copy.table},
                    {"rows_estimated", or_null(copy.rows)},
                    {"chunks_estimated", or_null(chunks)}});
    text += copy.job > 0 ? fmt::format("{} {}: ", copy.job, copy.table) : copy.table + ": ";
    text += copy.rows ? fmt::format("about {} rows in {} chunks\n", *copy.rows, *chunks)
                      : "rows unknown, the table was never analysed\n";
  }
  return json ? ordered_json{{"tables", list}}.dump(2) + "\n" : text;
}

}  // namespace millrace::cli
