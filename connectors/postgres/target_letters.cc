// PostgresTarget, the part that keeps letters: table millrace.parked.
#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "connectors/postgres/array_literal.h"
#include "connectors/postgres/postgres_target.h"
#include "connectors/postgres/text_form.h"

namespace millrace::postgres {

using sink::Letter;
using sink::LetterKey;

namespace {

constexpr const char* kListed =
    "SELECT id, source_table, key_columns, key, old_key, key_json, operation, version, timeline, "
    "failed, error, attempts, round(extract(epoch FROM parked_at) * 1000000)::int8, "
    "octet_length(change) FROM millrace.parked WHERE pipeline = $1::text ";

int64_t number(std::string_view text) { return std::stoll(std::string(text)); }

Op op_of(std::string_view name) {
  for (const Op op : {Op::insert, Op::update, Op::remove}) {
    if (to_string(op) == name) return op;
  }
  return Op::truncate;
}

std::string array_of(std::span<const int64_t> ids) {
  std::string out = "{";
  for (const int64_t id : ids) out += (out.size() > 1 ? "," : "") + std::to_string(id);
  return out + "}";
}

Letter read_listed(const Reply& reply, int row) {
  Letter letter;
  letter.id = number(reply.text(row, 0));
  letter.table = reply.text(row, 1);
  letter.key_columns = reply.text(row, 2);
  letter.key = from_bytea(reply.text(row, 3));
  if (!reply.is_null(row, 4)) letter.old_key = from_bytea(reply.text(row, 4));
  letter.key_json = reply.text(row, 5);
  letter.op = op_of(reply.text(row, 6));
  const std::string version = from_bytea(reply.text(row, 7));
  const auto big_endian = [&version](size_t from, size_t bytes) {
    uint64_t out = 0;
    for (size_t i = from; i < from + bytes && i < version.size(); ++i) {
      out = out << 8 | static_cast<unsigned char>(version[i]);
    }
    return out;
  };
  letter.epoch = static_cast<uint32_t>(big_endian(0, 4));
  letter.position = {static_cast<uint32_t>(number(reply.text(row, 8))), Lsn{big_endian(4, 8)},
                     static_cast<uint32_t>(big_endian(12, 4))};
  letter.failed = reply.text(row, 9) == "t";
  letter.error = reply.text(row, 10);
  letter.attempts = number(reply.text(row, 11));
  letter.parked_at = {number(reply.text(row, 12))};
  letter.bytes = static_cast<uint64_t>(number(reply.text(row, 13)));
  return letter;
}

std::vector<Letter> read_all_listed(const Reply& reply) {
  std::vector<Letter> out;
  out.reserve(static_cast<size_t>(reply.rows()));
  for (int row = 0; row < reply.rows(); ++row) out.push_back(read_listed(reply, row));
  return out;
}

bool is_missing(const Reply& reply) {
  return !reply.ok() && (reply.sqlstate() == "42P01" || reply.sqlstate() == "3F000" ||
                         reply.sqlstate() == "42703");
}

}  // namespace

Result<Reply> PostgresTarget::run_letters(const std::string& sql, Params params,
                                          std::string_view doing) {
  if (!connection_ || !connection_->alive()) {
    return fail(ErrorCode::retryable, "the target is not connected");
  }
  // What is written now must not be undone with the next plan.
  savepoint_fresh_ = false;
  Reply reply = connection_->run_prepared(sql, params);
  if (reply.ok()) return reply;
  Error error = to_error(*connection_, reply, doing);
  if (is_missing(reply)) {
    error = Error(ErrorCode::negative, "the target has no table for parked rows",
                  "`target.on_bad_row: park` and `millrace setup` make it");
  }
  if (open_) rollback();
  return fail(std::move(error));
}

Result<std::optional<std::vector<LetterKey>>> PostgresTarget::parked_keys() {
  // parked_edits too: both are made by one set-up, and begin() reads it.
  const Reply there = connection_->run(
      "SELECT to_regclass('millrace.parked') IS NOT NULL AND EXISTS (SELECT 1 FROM pg_attribute "
      "WHERE attrelid = to_regclass('millrace.applied') AND attname = 'parked_edits' AND NOT "
      "attisdropped)");
  if (!there.ok()) return fail(to_error(*connection_, there, "looking for parked rows"));
  letters_ready_ = there.text(0, 0) == "t";
  if (!letters_ready_) return std::optional<std::vector<LetterKey>>();
  const char* const pipeline[] = {options_.pipeline.c_str()};
  const Reply reply = connection_->run(
      "SELECT source_table, key_columns, key, old_key FROM millrace.parked WHERE pipeline = "
      "$1::text",
      pipeline);
  if (!reply.ok()) return fail(to_error(*connection_, reply, "reading the keys of parked rows"));
  std::vector<LetterKey> keys;
  for (int row = 0; row < reply.rows(); ++row) {
    LetterKey key{std::string(reply.text(row, 0)), std::string(reply.text(row, 1)),
                  from_bytea(reply.text(row, 2)), std::nullopt};
    if (!reply.is_null(row, 3)) key.old_key = from_bytea(reply.text(row, 3));
    keys.push_back(std::move(key));
  }
  return std::optional(std::move(keys));
}

Status PostgresTarget::park(std::span<const Letter> letters) {
  std::array<ArrayLiteral, 14> columns;
  for (ArrayLiteral& column : columns) column.clear();
  for (const Letter& letter : letters) {
    size_t next = 0;
    const auto add = [&](std::string_view text) { columns[next++].add(text); };
    add(letter.table);
    add(letter.key_columns);
    add(to_bytea(letter.key));
    if (letter.old_key) {
      add(to_bytea(*letter.old_key));
    } else {
      columns[next++].add_null();
    }
    add(letter.key_json);
    add(to_string(letter.op));
    columns[next++].add(
        make_version(letter.epoch, letter.position.commit_lsn, letter.position.ordinal));
    add(std::to_string(letter.position.timeline));
    add(letter.failed ? "true" : "false");
    add(as_text(letter.error));
    add(std::to_string(letter.attempts));
    add(to_bytea(letter.shape));
    add(to_bytea(letter.change));
    columns[next].add(options_.pipeline);
  }
  std::vector<const char*> params;
  params.reserve(columns.size());
  for (ArrayLiteral& column : columns) params.push_back(column.finish());
  TRY(run_letters(
      "INSERT INTO millrace.parked (source_table, key_columns, key, old_key, key_json, operation, "
      "version, timeline, failed, error, attempts, shape, change, pipeline) SELECT u.a, u.b, "
      "u.c::bytea, u.d::bytea, u.e, u.f, u.g, u.h, u.i, u.j, u.k, u.l::bytea, u.m::bytea, u.n "
      "FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], "
      "$7::bytea[], $8::int8[], $9::bool[], $10::text[], $11::int8[], $12::text[], $13::text[], "
      "$14::text[]) AS u(a, b, c, d, e, f, g, h, i, j, k, l, m, n) ORDER BY u.g",
      params, "parking rows"));
  return {};
}

Result<uint64_t> PostgresTarget::forget(const std::string& table) {
  const char* const params[] = {options_.pipeline.c_str(), table.c_str()};
  TRY_ASSIGN(const Reply reply,
             run_letters("DELETE FROM millrace.parked WHERE pipeline = $1::text AND source_table = "
                         "$2::text",
                         params, "forgetting parked rows of a truncated table"));
  return reply.affected();
}

Result<std::vector<Letter>> PostgresTarget::list() {
  const char* const params[] = {options_.pipeline.c_str()};
  TRY_ASSIGN(const Reply reply, run_letters(std::string(kListed) + "ORDER BY version, id", params,
                                            "listing parked rows"));
  return read_all_listed(reply);
}

Result<std::vector<Letter>> PostgresTarget::chain(const LetterKey& of) {
  std::set<std::string> keys{of.key};
  if (of.old_key) keys.insert(*of.old_key);
  while (true) {
    ArrayLiteral array;
    array.clear();
    for (const std::string& key : keys) array.add(to_bytea(key));
    const char* const params[] = {options_.pipeline.c_str(), of.table.c_str(), array.finish()};
    TRY_ASSIGN(const Reply reply,
               run_letters(std::string(kListed) +
                               "AND source_table = $2::text AND (key = ANY ($3::bytea[]) OR "
                               "old_key = ANY ($3::bytea[])) ORDER BY version, id",
                           params, "listing parked rows of a key"));
    std::vector<Letter> letters = read_all_listed(reply);
    const size_t known = keys.size();
    for (const Letter& letter : letters) {
      keys.insert(letter.key);
      if (letter.old_key) keys.insert(*letter.old_key);
    }
    if (keys.size() == known) return letters;
  }
}

Result<std::vector<Letter>> PostgresTarget::read(std::span<const int64_t> ids) {
  const std::string array = array_of(ids);
  const char* const params[] = {options_.pipeline.c_str(), array.c_str()};
  std::string sql = kListed;
  sql.replace(sql.find(" FROM millrace.parked"), 0, ", shape, change");
  TRY_ASSIGN(const Reply reply, run_letters(sql + "AND id = ANY ($2::int8[]) ORDER BY "
                                                  "array_position($2::int8[], id)",
                                            params, "reading parked rows"));
  std::vector<Letter> letters = read_all_listed(reply);
  for (size_t i = 0; i < letters.size(); ++i) {
    letters[i].shape = from_bytea(reply.text(static_cast<int>(i), 14));
    letters[i].change = from_bytea(reply.text(static_cast<int>(i), 15));
  }
  return letters;
}

// The update takes the lock that an applier's begin() waits for, and tells it to look again.
// Constraints are checked at once, so that a letter that violates one is known by name.
Status PostgresTarget::begin_edit(uint32_t epoch) {
  if (!connection_ || !connection_->alive()) {
    return fail(ErrorCode::retryable, "the target is not connected");
  }
  if (open_) rollback();
  writer_->begin(epoch);
  const auto replies = connection_->run_all(
      "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; UPDATE millrace.applied SET parked_edits = "
      "parked_edits + 1 WHERE pipeline = " +
      connection_->literal(options_.pipeline) + "; SAVEPOINT millrace_plan");
  open_ = true;
  if (!replies.back().ok()) {
    return give_up(to_error(*connection_, replies.back(), "waiting for the applier")
                       .with_hint("it holds a transaction open; try again"));
  }
  savepoint_fresh_ = true;
  if (replies[2].affected() != 1) {
    return give_up(Error(ErrorCode::negative, "the target knows no pipeline " + options_.pipeline));
  }
  // What is written here must not be undone by a chunk of history either.
  if (auto watched = load_watch(true); !watched) return give_up(std::move(watched).error());
  return {};
}

Status PostgresTarget::remove(std::span<const int64_t> ids) {
  const std::string array = array_of(ids);
  const char* const params[] = {options_.pipeline.c_str(), array.c_str()};
  TRY(run_letters("DELETE FROM millrace.parked WHERE pipeline = $1::text AND id = ANY ($2::int8[])",
                  params, "removing letters"));
  return {};
}

Status PostgresTarget::failed_again(int64_t id, const std::string& error) {
  const std::string number = std::to_string(id);
  const std::string clean = as_text(error);
  const char* const params[] = {options_.pipeline.c_str(), number.c_str(), clean.c_str()};
  TRY(
      run_letters("UPDATE millrace.parked SET attempts = attempts + 1, failed = true, error = "
                  "$3::text WHERE pipeline = $1::text AND id = $2::int8",
                  params, "noting a failed attempt"));
  return {};
}

}  // namespace millrace::postgres
