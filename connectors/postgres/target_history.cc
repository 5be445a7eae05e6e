// PostgresTarget, the part that keeps jobs and writes their chunks: tables millrace.progress and
// millrace.tombstone; and millrace.journal.
#include <utility>

#include <fmt/format.h>

#include "connectors/postgres/array_literal.h"
#include "connectors/postgres/chunk_writer.h"
#include "connectors/postgres/jobs.h"
#include "connectors/postgres/postgres_target.h"
#include "connectors/postgres/text_form.h"
#include "relay/base/failpoint.h"

namespace millrace::postgres {

using sink::CopyJob;
using sink::JobState;

Result<std::optional<std::vector<CopyJob>>> PostgresTarget::jobs() {
  TRY(connect());
  const Reply there = connection_->run("SELECT to_regclass('millrace.progress') IS NOT NULL");
  if (!there.ok()) return fail(to_error(*connection_, there, "looking for jobs"));
  if (there.text(0, 0) == "f") return std::optional<std::vector<CopyJob>>();
  TRY_ASSIGN(auto jobs, read_jobs(*connection_, options_.pipeline));
  return std::optional(std::move(jobs));
}

Result<int64_t> PostgresTarget::add_job(const CopyJob& job) {
  TRY(connect());
  return insert_job(*connection_, options_.pipeline, job);
}

Status PostgresTarget::set_state(int64_t id, std::span<const JobState> from, JobState to,
                                 const std::string& why) {
  TRY(connect());
  return move_job(*connection_, options_.pipeline, id, from, to, why);
}

// For letters it is a part of their edit, and of its transaction.
Status PostgresTarget::journal(const std::string& who, const std::string& what) {
  if (!open_) TRY(connect());
  const std::string clean_who = as_text(who);
  const std::string clean_what = as_text(what);
  const char* const params[] = {options_.pipeline.c_str(), clean_who.c_str(), clean_what.c_str()};
  TRY(
      run_letters("INSERT INTO millrace.journal (pipeline, who, what) VALUES ($1::text, $2::text, "
                  "$3::text)",
                  params, "writing the journal"));
  return {};
}

Result<bool> PostgresTarget::has_rows(const TableSchema& table) {
  TRY(connect());
  const sink::TableMapping* mapping = find_mapping(options_.tables, table);
  if (mapping == nullptr) {
    return fail(Error(ErrorCode::bad_data, "the config maps no such source table",
                      "add it under tables in the config")
                    .at("table " + display_name(table)));
  }
  const std::string name = quote_table(mapping->target_schema, mapping->target_table);
  const Reply reply = connection_->run("SELECT EXISTS (SELECT 1 FROM " + name + ")");
  if (reply.ok()) return reply.text(0, 0) == "t";
  return fail(to_error(*connection_, reply, "looking for rows").at("table " + name));
}

Result<sink::Kin> PostgresTarget::kin(const TableSchema& table) {
  TRY(connect());
  const sink::TableMapping* mapping = find_mapping(options_.tables, table);
  if (mapping == nullptr) return sink::Kin();
  std::string name = quote_table(mapping->target_schema, mapping->target_table);
  TRY_ASSIGN(auto above, writer_->above(name));
  return sink::Kin{std::move(name), std::move(above)};
}

Status PostgresTarget::load_watch(bool all) {
  if (all) watch_.tables.clear();
  const Reply there = connection_->run("SELECT to_regclass('millrace.progress') IS NOT NULL");
  if (!there.ok()) return fail(to_error(*connection_, there, "looking for jobs"));
  if (there.text(0, 0) == "f") return {};
  TRY_ASSIGN(const auto jobs, read_jobs(*connection_, options_.pipeline));
  for (const CopyJob& job : jobs) {
    if (!job.open()) continue;
    if (all) watch_.tables.emplace(job.table, Lsn{});
    const auto at = watch_.tables.find(job.table);
    if (at != watch_.tables.end()) at->second = job.replace ? job.floor : Lsn{};
  }
  writer_->watch_changed();
  return {};
}

Status PostgresTarget::watch(std::span<const std::string> tables, sink::RowSource* rows) {
  TRY(check_session());
  watch_.tables.clear();
  watch_.rows = rows;
  for (const std::string& table : tables) watch_.tables.emplace(table, Lsn{});
  if (!tables.empty()) TRY(load_watch(false));
  writer_->watch_changed();
  ArrayLiteral kept;
  kept.clear();
  for (const std::string& table : tables) kept.add(table);
  const Reply reply = connection_->run(
      "DELETE FROM millrace.tombstone WHERE pipeline = $1::text AND source_table <> ALL "
      "($2::text[])",
      {options_.pipeline, kept.finish()});
  if (reply.ok() || is_undefined(reply)) return {};
  return fail(to_error(*connection_, reply, "dropping tombstones"));
}

Status PostgresTarget::start_job(const CopyJob& job) {
  TRY(check_session());
  TRY(run_job(*connection_, options_.pipeline, job));
  return load_watch(false);
}

// The row of `applied` stays locked to the end: a second applier and operators' edits wait.
// A server that crashes may lose the newest chunks, each with the progress that it made: they are
// read again then. What ends a job is flushed, and all before it.
Result<bool> PostgresTarget::write_chunk(const sink::Chunk& chunk) {
  TRY(check_session());
  if (!stands_) return fail(ErrorCode::retryable, "the applied position was not read");
  if (chunk.table) TRY(adapt(std::span(&chunk.table, 1)));
  if (open_) rollback();
  const sink::Applied expected = *stands_;
  writer_->begin(expected.epoch);
  const auto replies = connection_->run_all(fmt::format(
      "BEGIN; SET CONSTRAINTS ALL {}; {}SELECT 1 FROM millrace.applied WHERE {} FOR UPDATE; {}",
      constraints_now_ ? "IMMEDIATE" : "DEFERRED",
      chunk.last ? "" : "SET LOCAL synchronous_commit = off; ", stands_at(expected),
      hold_job_sql(*connection_, options_.pipeline, chunk)));
  open_ = true;
  if (!replies.back().ok()) {
    return give_up_chunk(
        to_error(*connection_, replies.back(), "looking at the applied position and the job"));
  }
  if (replies[replies.size() - 2].rows() != 1) return fail(moved_error(expected).error());
  const auto job = held_job(replies.back(), chunk);
  if (!job) {
    rollback();
    return false;
  }
  if (chunk.rows > 0 || !chunk.absent.empty()) {
    ChunkWriter writer(*connection_, *writer_);
    auto written = writer.write(chunk, *job);
    takes_binary_ = written && writer.takes_binary();
    if (!written) return give_up_chunk(std::move(written).error());
    if (chunk.park != nullptr) {
      if (auto parked = chunk.park->flush(); !parked) {
        return give_up_chunk(std::move(parked).error());
      }
    }
    MILLRACE_FAILPOINT(backfill_chunk);
  }
  TRY(commit(advance_job_sql(*connection_, options_.pipeline, chunk) + "; "));
  return true;
}

// What is wrong with the table may be mended: it is read anew by the next attempt.
tl::unexpected<Error> PostgresTarget::give_up_chunk(Error error) {
  if (error.code() == ErrorCode::bad_data) {
    writer_->forget_later();
    adapted_.clear();
  }
  rollback();
  return fail(std::move(error));
}

}  // namespace millrace::postgres
