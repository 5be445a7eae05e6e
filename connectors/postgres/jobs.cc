#include "connectors/postgres/jobs.h"

#include <utility>

#include <fmt/format.h>

#include "connectors/postgres/array_literal.h"
#include "connectors/postgres/text_form.h"

namespace millrace::postgres {

using sink::Chunk;
using sink::CopyJob;
using sink::JobState;
using sink::KeyText;

namespace {

int64_t number(std::string_view text) { return std::stoll(std::string(text)); }

// A text[] as digits and commas, which need no parser.
std::string hex_of(const char* column) {
  return fmt::format(
      "(SELECT string_agg(encode(convert_to(u.v, 'UTF8'), 'hex'), ',' ORDER BY u.n) FROM "
      "unnest({}) WITH ORDINALITY AS u(v, n))",
      column);
}

std::string micros_of(const char* column) {
  return fmt::format("round(extract(epoch FROM {}) * 1000000)::int8", column);
}

std::vector<std::string> texts_of(std::string_view hex) {
  std::vector<std::string> out;
  while (true) {
    const size_t end = hex.find(',');
    out.push_back(from_hex(hex.substr(0, end)));
    if (end == std::string_view::npos) return out;
    hex.remove_prefix(end + 1);
  }
}

std::optional<KeyText> key_at(const Reply& reply, int row, int column) {
  if (reply.is_null(row, column)) return std::nullopt;
  return texts_of(reply.text(row, column));
}

std::vector<KeyText> keys_at(const Reply& reply, int row, int column, size_t width) {
  std::vector<KeyText> keys;
  if (reply.is_null(row, column) || width == 0) return keys;
  for (std::string& text : texts_of(reply.text(row, column))) {
    if (keys.empty() || keys.back().size() == width) keys.emplace_back();
    keys.back().push_back(std::move(text));
  }
  return keys;
}

// Repairs may have thousands; nobody asks for them once the job has ended.
constexpr const char* kKeysIfOpen =
    "CASE WHEN state IN ('waiting', 'running', 'paused') THEN keys END";

Error undefined_error() {
  return Error(ErrorCode::negative, "the target has no table for jobs (millrace.progress)",
               "millrace setup");
}

Error job_error(Connection& connection, const Reply& reply, std::string_view doing) {
  if (is_undefined(reply)) return undefined_error();
  if (reply.failure() == Failure::conflict) {
    return Error(ErrorCode::negative, "the table has an open job already",
                 "`millrace backfill status` shows it; cancel it, or wait for its end");
  }
  return to_error(connection, reply, doing);
}

// Their values, one behind the other.
std::string array_of(std::span<const KeyText> keys) {
  ArrayLiteral array;
  array.clear();
  for (const KeyText& key : keys) {
    for (const std::string& text : key) array.add(text);
  }
  return array.finish();
}

// One statement's parameters; NULL where there is no value. Arrays hold keys.
class Texts {
 public:
  void add(std::string text) { texts_.emplace_back(std::move(text)); }
  void add_null() { texts_.emplace_back(std::nullopt); }
  void add(const std::optional<KeyText>& key) {
    if (!key) return add_null();
    add_all(std::span(&*key, 1));
  }
  void add_all(std::span<const KeyText> keys) { add(array_of(keys)); }
  std::vector<const char*> params() const {
    std::vector<const char*> out;
    for (const auto& text : texts_) out.push_back(text ? text->c_str() : nullptr);
    return out;
  }

 private:
  std::vector<std::optional<std::string>> texts_;
};

CopyJob read_job(const Reply& reply, int row) {
  const auto text = [&](int column) { return std::string(reply.text(row, column)); };
  const auto is = [&](int column) { return reply.text(row, column) == "t"; };
  const auto at = [&](int column) {
    return TimeMicros{reply.is_null(row, column) ? 0 : number(reply.text(row, column))};
  };
  CopyJob job;
  job.id = number(reply.text(row, 0));
  job.kind = sink::parse_job_kind(reply.text(row, 1)).value_or(sink::JobKind::again);
  job.state = sink::parse_job_state(reply.text(row, 2)).value_or(JobState::failed);
  job.why = text(3);
  job.table = text(4);
  job.where = text(5);
  job.after = key_at(reply, row, 6);
  job.until = key_at(reply, row, 7);
  job.keys = keys_at(reply, row, 8, static_cast<size_t>(number(reply.text(row, 9))));
  job.replace = is(10);
  job.delete_extra = is(11);
  job.floor = parse_lsn(reply.text(row, 12)).value_or(Lsn{});
  job.done_to = key_at(reply, row, 13);
  job.restarts = static_cast<uint64_t>(number(reply.text(row, 14)));
  job.rows_done = static_cast<uint64_t>(number(reply.text(row, 15)));
  if (!reply.is_null(row, 16)) {
    job.rows_estimated = static_cast<uint64_t>(number(reply.text(row, 16)));
  }
  job.consistent_at = parse_lsn(reply.text(row, 17)).value_or(Lsn{});
  job.who = text(18);
  job.created_at = at(19);
  job.started_at = at(20);
  job.ended_at = at(21);
  return job;
}

}  // namespace

bool is_undefined(const Reply& reply) {
  return !reply.ok() && (reply.sqlstate() == "42P01" || reply.sqlstate() == "3F000");
}

Result<std::vector<CopyJob>> read_jobs(Connection& connection, const std::string& pipeline) {
  const Reply reply = connection.run(
      "SELECT id, kind, state, why, source_table, condition, " + hex_of("after_key") + ", " +
          hex_of("until_key") + ", " + hex_of(kKeysIfOpen) +
          ", key_columns, replace, delete_extra, floor, " + hex_of("done_to") +
          ", restarts, rows_done, rows_estimated, consistent_at, who, " + micros_of("created_at") +
          ", " + micros_of("started_at") + ", " + micros_of("ended_at") +
          " FROM millrace.progress WHERE pipeline = $1::text ORDER BY id",
      {pipeline});
  if (!reply.ok()) return fail(job_error(connection, reply, "reading jobs"));
  std::vector<CopyJob> jobs;
  jobs.reserve(static_cast<size_t>(reply.rows()));
  for (int row = 0; row < reply.rows(); ++row) jobs.push_back(read_job(reply, row));
  return jobs;
}

Result<int64_t> insert_job(Connection& connection, const std::string& pipeline,
                           const CopyJob& job) {
  Texts texts;
  texts.add(pipeline);
  texts.add(std::string(to_string(job.kind)));
  texts.add(std::string(to_string(job.state)));
  texts.add(as_text(job.why));
  texts.add(job.table);
  texts.add(job.where);
  texts.add(job.after);
  texts.add(job.until);
  texts.add_all(job.keys);
  texts.add(std::to_string(job.keys.empty() ? 0 : job.keys.front().size()));
  texts.add(job.replace ? "t" : "f");
  texts.add(job.delete_extra ? "t" : "f");
  texts.add(to_string(job.floor));
  if (job.rows_estimated) {
    texts.add(std::to_string(*job.rows_estimated));
  } else {
    texts.add_null();
  }
  texts.add(as_text(job.who));
  const auto params = texts.params();
  const Reply reply = connection.run(
      "INSERT INTO millrace.progress (pipeline, kind, state, why, source_table, condition, "
      "after_key, until_key, keys, key_columns, replace, delete_extra, floor, rows_estimated, who) "
      "VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text[], "
      "$8::text[], $9::text[], $10::int4, $11::bool, $12::bool, $13::pg_lsn, $14::int8, $15::text) "
      "RETURNING id",
      params);
  if (!reply.ok()) {
    return fail(job_error(connection, reply, "adding a job").at("table " + job.table));
  }
  return number(reply.text(0, 0));
}

Status move_job(Connection& connection, const std::string& pipeline, int64_t id,
                std::span<const JobState> from, JobState to, const std::string& why) {
  ArrayLiteral states;
  states.clear();
  for (const JobState state : from) states.add(to_string(state));
  const Reply reply = connection.run(
      "UPDATE millrace.progress SET state = $3::text, why = $4::text, ended_at = CASE WHEN "
      "$3::text IN ('done', 'cancelled', 'failed') THEN clock_timestamp() END WHERE pipeline = "
      "$1::text AND id = $2::int8 AND state = ANY ($5::text[])",
      {pipeline, std::to_string(id), std::string(to_string(to)), as_text(why), states.finish()});
  if (!reply.ok()) return fail(job_error(connection, reply, "moving a job"));
  if (reply.affected() == 1) return {};
  const Reply found = connection.run(
      "SELECT state FROM millrace.progress WHERE pipeline = $1::text AND id = $2::int8",
      {pipeline, std::to_string(id)});
  if (!found.ok()) return fail(job_error(connection, found, "reading a job"));
  return fail(ErrorCode::negative,
              found.rows() == 0 ? fmt::format("there is no job {}", id)
                                : fmt::format("job {} is {} and can not become {}", id,
                                              found.text(0, 0), to_string(to)),
              "millrace backfill status");
}

// Running jobs too: the reply to an earlier call may have been lost.
Status run_job(Connection& connection, const std::string& pipeline, const CopyJob& job) {
  Texts texts;
  texts.add(pipeline);
  texts.add(std::to_string(job.id));
  texts.add(to_string(job.floor));
  texts.add(job.until);
  if (job.rows_estimated) {
    texts.add(std::to_string(*job.rows_estimated));
  } else {
    texts.add_null();
  }
  const auto params = texts.params();
  const Reply reply = connection.run(
      "UPDATE millrace.progress SET state = 'running', why = '', floor = $3::pg_lsn, until_key = "
      "$4::text[], rows_estimated = $5::int8, started_at = coalesce(started_at, clock_timestamp()) "
      "WHERE pipeline = $1::text AND id = $2::int8 AND state IN ('waiting', 'running')",
      params);
  if (!reply.ok()) return fail(job_error(connection, reply, "starting a job"));
  if (reply.affected() == 1) return {};
  return fail(ErrorCode::negative, fmt::format("job {} waits no more", job.id),
              "millrace backfill status");
}

std::string hold_job_sql(const Connection& connection, const std::string& pipeline,
                         const Chunk& chunk) {
  return fmt::format(
      "SELECT replace, delete_extra FROM millrace.progress WHERE pipeline = {} AND id = {} AND "
      "state = 'running' AND restarts = {} FOR UPDATE",
      connection.literal(pipeline), chunk.job, chunk.restarts);
}

std::optional<CopyJob> held_job(const Reply& reply, const Chunk& chunk) {
  if (reply.rows() == 0) return std::nullopt;
  CopyJob job;
  job.id = chunk.job;
  job.replace = reply.text(0, 0) == "t";
  job.delete_extra = reply.text(0, 1) == "t";
  return job;
}

Status restart_jobs(Connection& connection, const std::string& pipeline, const std::string& table) {
  const Reply jobs = connection.run(
      "UPDATE millrace.progress SET done_to = NULL, rows_done = 0, restarts = restarts + 1 WHERE "
      "pipeline = $1::text AND source_table = $2::text AND state IN ('waiting', 'running', "
      "'paused')",
      {pipeline, table});
  if (!jobs.ok()) return fail(job_error(connection, jobs, "sending jobs back to their beginning"));
  const Reply tombstones = connection.run(
      "DELETE FROM millrace.tombstone WHERE pipeline = $1::text AND source_table = $2::text",
      {pipeline, table});
  if (tombstones.ok()) return {};
  return fail(to_error(connection, tombstones, "dropping tombstones"));
}

std::string advance_job_sql(const Connection& connection, const std::string& pipeline,
                            const Chunk& chunk) {
  std::string done_to;
  if (chunk.last_key) {
    const std::string key = array_of(std::span(&*chunk.last_key, 1));
    done_to = "done_to = " + connection.literal(key) + "::text[], ";
  }
  return fmt::format(
      "UPDATE millrace.progress SET {}rows_done = rows_done + {}, consistent_at = '{}'::pg_lsn{} "
      "WHERE pipeline = {} AND id = {}",
      done_to, chunk.rows + chunk.absent.size(), to_string(chunk.seen_until),
      chunk.last ? ", state = 'done', ended_at = clock_timestamp()" : "",
      connection.literal(pipeline), chunk.job);
}

}  // namespace millrace::postgres
