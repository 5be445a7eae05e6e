#include "connectors/postgres/proofs.h"

#include <charconv>

#include "connectors/postgres/jobs.h"
#include "connectors/postgres/text_form.h"

namespace millrace::postgres {
namespace {

constexpr const char* kColumns =
    "kind, subject, scope, verdict, why, epoch, timeline, from_lsn, to_lsn, config_hash, compared, "
    "equal, missing, extra, different, unresolved, who, round(extract(epoch FROM started_at) * "
    "1000000)::int8, round(extract(epoch FROM ended_at) * 1000000)::int8";

template <typename Number>
Number number_at(const Reply& reply, int row, int column) {
  Number out{};
  const std::string_view text = reply.text(row, column);
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

Proof read_proof(const Reply& reply, int row) {
  const auto text = [&](int column) { return std::string(reply.text(row, column)); };
  const auto count = [&](int column) { return number_at<uint64_t>(reply, row, column); };
  Proof out;
  out.kind = text(0);
  out.subject = text(1);
  out.scope = text(2);
  out.verdict = text(3);
  out.why = text(4);
  out.epoch = number_at<uint32_t>(reply, row, 5);
  out.timeline = number_at<uint32_t>(reply, row, 6);
  out.from = parse_lsn(text(7)).value_or(Lsn{});
  out.to = parse_lsn(text(8)).value_or(Lsn{});
  out.config_hash = text(9);
  out.compared = count(10);
  out.equal = count(11);
  out.missing = count(12);
  out.extra = count(13);
  out.different = count(14);
  out.unresolved = count(15);
  out.who = text(16);
  out.started_at = TimeMicros{number_at<int64_t>(reply, row, 17)};
  out.ended_at = TimeMicros{number_at<int64_t>(reply, row, 18)};
  return out;
}

// All rows of a table are what the source's are: then as many, with the same keys, and no column
// drifts.
bool proves(const Proof& whole, const Proof& other) {
  return whole.kind == "rows" && whole.verdict == "equal" && whole.subject == other.subject &&
         (other.kind == "counts" || other.kind == "sample" || other.kind == "drift") &&
         other.verdict != "equal" && other.ended_at <= whole.started_at;
}

Error proof_error(Connection& connection, const Reply& reply, std::string_view doing) {
  if (is_undefined(reply)) {
    return Error(ErrorCode::negative, "the target has no table for proofs (millrace.proof)",
                 "millrace setup");
  }
  return to_error(connection, reply, doing);
}

}  // namespace

Result<Connection*> Proofs::connection() {
  if (!connection_ || !connection_->alive()) {
    TRY_ASSIGN(connection_, Connection::open(options_));
  }
  return connection_.get();
}

Status Proofs::add(const Proof& proof, uint64_t keep) {
  TRY_ASSIGN(Connection* const target, connection());
  const auto text = [](uint64_t number) { return std::to_string(number); };
  const Reply added = target->run(
      "INSERT INTO millrace.proof (pipeline, kind, subject, scope, verdict, why, epoch, timeline, "
      "from_lsn, to_lsn, config_hash, compared, equal, missing, extra, different, unresolved, who, "
      "started_at, ended_at) VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, "
      "$7::int8, $8::int8, $9::pg_lsn, $10::pg_lsn, $11::text, $12::int8, $13::int8, $14::int8, "
      "$15::int8, $16::int8, $17::int8, $18::text, 'epoch'::timestamptz + $19::int8 * interval '1 "
      "microsecond', 'epoch'::timestamptz + $20::int8 * interval '1 microsecond')",
      {options_.pipeline,
       proof.kind,
       as_text(proof.subject),
       as_text(proof.scope),
       proof.verdict,
       as_text(proof.why),
       text(proof.epoch),
       text(proof.timeline),
       to_string(proof.from),
       to_string(proof.to),
       proof.config_hash,
       text(proof.compared),
       text(proof.equal),
       text(proof.missing),
       text(proof.extra),
       text(proof.different),
       text(proof.unresolved),
       as_text(proof.who),
       std::to_string(proof.started_at.value),
       std::to_string(proof.ended_at.value)});
  if (!added.ok()) return fail(proof_error(*target, added, "keeping a proof"));
  // Each entry of the schedule by itself, so that a frequent one does not push out a rare one's.
  const Reply thinned = target->run(
      "WITH ours AS (SELECT id FROM millrace.proof WHERE pipeline = $1::text AND kind = $2::text "
      "AND subject = $3::text AND CASE WHEN $5::text LIKE 'schedule: %' THEN who = $5::text ELSE "
      "who NOT LIKE 'schedule: %' END) DELETE FROM millrace.proof WHERE id IN (SELECT id FROM ours "
      "ORDER BY id DESC OFFSET $4::int8)",
      {options_.pipeline, proof.kind, as_text(proof.subject), std::to_string(keep),
       as_text(proof.who)});
  if (!thinned.ok()) return fail(proof_error(*target, thinned, "thinning the proofs"));
  return {};
}

Result<std::vector<Proof>> Proofs::read(const std::string& sql,
                                        const std::vector<std::string>& texts) {
  TRY_ASSIGN(Connection* const target, connection());
  std::vector<const char*> params;
  params.reserve(texts.size());
  for (const std::string& text : texts) params.push_back(text.c_str());
  const Reply reply = target->run(sql, Params(params));
  if (!reply.ok()) return fail(proof_error(*target, reply, "reading the proofs"));
  std::vector<Proof> out;
  out.reserve(static_cast<size_t>(reply.rows()));
  for (int row = 0; row < reply.rows(); ++row) out.push_back(read_proof(reply, row));
  return out;
}

Result<std::vector<Proof>> Proofs::list(const std::optional<std::string>& subject, uint64_t most) {
  const std::string columns = std::string("SELECT ") + kColumns;
  if (!subject) {
    return read(columns +
                    " FROM millrace.proof WHERE pipeline = $1::text ORDER BY id DESC LIMIT "
                    "$2::int8",
                {options_.pipeline, std::to_string(most)});
  }
  return read(columns +
                  " FROM millrace.proof WHERE pipeline = $1::text AND subject = $2::text "
                  "ORDER BY id DESC LIMIT $3::int8",
              {options_.pipeline, as_text(*subject), std::to_string(most)});
}

Result<int64_t> Proofs::newest() {
  TRY_ASSIGN(Connection* const target, connection());
  const Reply reply =
      target->run("SELECT coalesce(max(id), 0) FROM millrace.proof WHERE pipeline = $1::text",
                  {options_.pipeline});
  if (!reply.ok()) return fail(proof_error(*target, reply, "reading the proofs"));
  return number_at<int64_t>(reply, 0, 0);
}

Result<std::vector<Proof>> Proofs::latest(int days) {
  TRY_ASSIGN(auto out,
             read(std::string("SELECT DISTINCT ON (subject, kind) ") + kColumns +
                      " FROM millrace.proof WHERE pipeline = $1::text AND ended_at > "
                      "clock_timestamp() - $2::int4 * interval '1 day' AND (scope = '' OR kind = "
                      "'sample' AND scope !~ '^(after|until) ') ORDER BY subject, kind, id DESC",
                  {options_.pipeline, std::to_string(days)}));
  // What was found otherwise and proven equal since by more is over.
  const std::vector<Proof> found = out;
  for (Proof& proof : out) {
    for (const Proof& whole : found) {
      if (!proves(whole, proof)) continue;
      const std::string kind = proof.kind;
      proof = whole;
      proof.kind = kind;
      break;
    }
  }
  return out;
}

Result<std::map<std::string, TimeMicros>> Proofs::begun(const std::string& who, bool equal) {
  TRY_ASSIGN(Connection* const target, connection());
  const Reply reply = target->run(
      "SELECT subject, round(extract(epoch FROM max(started_at)) * 1000000)::int8 FROM "
      "millrace.proof WHERE pipeline = $1::text AND who = $2::text AND (NOT $3::bool OR verdict = "
      "'equal') GROUP BY subject",
      {options_.pipeline, as_text(who), equal ? "t" : "f"});
  if (!reply.ok()) return fail(proof_error(*target, reply, "reading the proofs"));
  std::map<std::string, TimeMicros> out;
  for (int row = 0; row < reply.rows(); ++row) {
    out[std::string(reply.text(row, 0))] = TimeMicros{number_at<int64_t>(reply, row, 1)};
  }
  return out;
}

}  // namespace millrace::postgres
