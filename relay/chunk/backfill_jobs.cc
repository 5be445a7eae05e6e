// The part of Backfill that adds jobs by itself, and says how far they have come.
#include <algorithm>

#include "relay/base/logging.h"
#include "relay/chunk/backfill.h"

namespace millrace::chunk {

using sink::CopyJob;
using sink::JobKind;
using sink::JobState;

namespace {

constexpr std::chrono::seconds kRateOver{10};

Error rows_nobody_copied(const std::string& tables) {
  return Error(ErrorCode::refused,
               "the target has rows that nobody copied, in " + tables +
                   ", and the source's rows are to be copied there",
               "empty these tables of the target; or set backfill.on_existing: keep, which keeps "
               "these rows and "
               "copies the others, or verify, which compares the tables after that; or "
               "backfill.on_start: off, when the target was filled by hand");
}

}  // namespace

std::string Backfill::target_name(const TableSchema& table) const {
  return options_.target_name ? options_.target_name(table) : display_name(table);
}

// A pipeline that was begun by a copy copies what is added to it; one that was not copies nothing
// by itself, as ever.
Result<std::vector<TableSchemaPtr>> Backfill::tables_to_add(bool fresh) {
  const bool was_begun_so = std::any_of(
      jobs_.begin(), jobs_.end(), [](const CopyJob& job) { return job.kind == JobKind::initial; });
  std::vector<TableSchemaPtr> out;
  if (!fresh && !was_begun_so) return out;
  std::string filled;
  for (const TableSchemaPtr& table : options_.tables) {
    const std::string name = display_name(*table);
    const bool known = std::any_of(jobs_.begin(), jobs_.end(),
                                   [&name](const CopyJob& job) { return job.table == name; });
    if (known) continue;
    if (!table->has_key()) {
      if (!told_.insert(name).second) continue;
      logging::warn("not copied: a table without a key has no order to read it by",
                    {{"table", name}, {"what_to_do", "give it a primary key, or copy it by hand"}});
      continue;
    }
    if (options_.on_existing == OnExisting::fail) {
      TRY_ASSIGN(const bool has_rows, box_->has_rows(*table));
      if (has_rows) filled += (filled.empty() ? "" : ", ") + target_name(*table);
    }
    out.push_back(table);
  }
  if (!filled.empty()) return fail(rows_nobody_copied(filled));
  return out;
}

Status Backfill::add_jobs_on_start(bool fresh) {
  TRY_ASSIGN(const auto tables, tables_to_add(fresh));
  for (const TableSchemaPtr& table : tables) {
    CopyJob job;
    job.kind = fresh ? JobKind::initial : JobKind::again;
    job.table = display_name(*table);
    job.who = "backfill.on_start";
    auto added = box_->add_job(job);
    if (!added && added.error().code() != ErrorCode::negative) {
      return fail(std::move(added).error());
    }
    if (added) logging::info("to be copied", {{"table", job.table}, {"job", *added}});
  }
  return {};
}

void Backfill::count(uint64_t rows) {
  const SteadyTime now = clock_.now();
  written_.push_back({now, rows});
  while (written_.front().at + kRateOver < now) written_.pop_front();
}

Progress Backfill::progress() {
  Progress out;
  if (jobs_.empty()) return out;
  double done = 0;
  double expected = 0;
  bool known = true;
  const CopyJob* shown = nullptr;
  for (const CopyJob& job : jobs_) {
    if (!job.open()) continue;
    if (shown == nullptr || (shown->state != JobState::running && job.state == JobState::running)) {
      shown = &job;
    }
    const auto rows = static_cast<double>(job.rows_done);
    done += rows;
    known = known && job.rows_estimated.has_value();
    expected += std::max(rows, static_cast<double>(job.rows_estimated.value_or(0)));
  }
  if (shown == nullptr) {
    out.state = "done";
    return out;
  }
  out.state = sink::to_string(shown->state);
  out.table = shown->table;
  out.why = shown->why;
  bool is_read = false;
  for (const auto& reader : readers_) {
    if (reader->job() != shown->id) continue;
    is_read = true;
    const JobReader::State state = reader->state();
    if (state.throttled) out.state = "throttled";
    if (!state.why.empty()) out.why = state.why;
  }
  if (!is_read && shown->state == JobState::waiting && out.why.empty()) {
    out.why = kWaitsItsTurn;
  }
  // While some have not begun, and nobody knows how many rows they have, it is the named table's.
  if (!known) {
    done = static_cast<double>(shown->rows_done);
    expected = static_cast<double>(shown->rows_estimated.value_or(0));
    if (expected > 0) expected = std::max(expected, done);
  }
  const SteadyTime now = clock_.now();
  double rows = 0;
  for (const Written& one : written_) {
    if (one.at + kRateOver >= now) rows += static_cast<double>(one.rows);
  }
  if (!written_.empty()) {
    const double span = std::chrono::duration<double>(now - written_.front().at).count();
    out.rows_per_s = rows / std::clamp(span, 1.0, 10.0);
  }
  if (expected <= 0) return out;
  out.percent = std::min(100.0, 100.0 * done / expected);
  if (out.rows_per_s.value_or(0) > 0) out.eta_s = (expected - done) / *out.rows_per_s;
  return out;
}

}  // namespace millrace::chunk
