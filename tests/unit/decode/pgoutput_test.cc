#include "relay/decode/pgoutput.h"

#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/decode/pgoutput_builder.h"

namespace t = millrace::testing;
using namespace millrace;
using namespace millrace::decode;
using namespace std::string_view_literals;

namespace {

// Every message of the protocol once, with each part that may be there.
std::vector<std::string> every_message() {
  return {
      t::begin(0x16B3748, 42, 731),
      t::commit(0x16B3748, 0x16B3778, 42),
      t::origin(0x99, "node_b"),
      t::type(16400, "public", "mood"),
      t::relation(16385, "public", "customers", 'd', {{"id", 23, true}, {"name", 25, false}}),
      t::insert(16385, {"1", "Ada", 'n'}),
      t::update(16385, {"1", 'u'}),
      t::update(16385, 'K', {"1", 'n'}, {"2", 'u'}),
      t::update(16385, 'O', {"1", "Ada"}, {"2", "Grace"}),
      t::remove(16385, 'K', {"1", 'n'}),
      t::remove(16385, 'O', {"1", "Ada"}),
      t::truncate({16385, 16390}, 3),
      t::message(true, 0x77, "outbox", "{\"a\":1}"),
      t::message(false, 0x77, "", ""),
      t::stream_start(731, true),
      t::stream_stop(),
      t::stream_commit(731, 0x16B3748, 0x16B3778, 42),
      t::stream_abort(731, 732),
  };
}

Status parse_any(std::string_view message) {
  Begin begin;
  Commit commit;
  Origin origin;
  TypeName type;
  Relation relation;
  RowMessage row;
  Truncate truncate;
  LogicalMessage logical;
  StreamStart start;
  StreamCommit end;
  StreamAbort abort;
  switch (message.front()) {
    case 'B':
      return parse_begin(message, begin);
    case 'C':
      return parse_commit(message, commit);
    case 'O':
      return parse_origin(message, origin);
    case 'Y':
      return parse_type(message, type);
    case 'R':
      return parse_relation(message, relation);
    case 'I':
      return parse_insert(message, row);
    case 'U':
      return parse_update(message, row);
    case 'D':
      return parse_delete(message, row);
    case 'T':
      return parse_truncate(message, truncate);
    case 'M':
      return parse_message(message, logical);
    case 'S':
      return parse_stream_start(message, start);
    case 'E':
      return parse_stream_stop(message);
    case 'c':
      return parse_stream_commit(message, end);
    case 'A':
      return parse_stream_abort(message, abort);
  }
  return fail(ErrorCode::fatal, "no parser");
}

std::string error_of(const Status& status) {
  return status ? std::string() : std::string(status.error().message());
}

}  // namespace

TEST_CASE("pgoutput: golden bytes of Begin, checked by hand against the protocol's page") {
  Begin begin;
  REQUIRE(parse_begin("B\0\0\0\0\x01\x6B\x37\x48\0\0\0\0\0\0\0\x2A\0\0\x02\xDB"sv, begin));
  CHECK(to_string(begin.commit_lsn) == "0/16B3748");
  CHECK(to_string(begin.commit_time) == "2000-01-01T00:00:00.000042Z");
  CHECK(begin.xid == 731);
}

TEST_CASE("pgoutput: golden bytes of Insert") {
  RowMessage row;
  REQUIRE(
      parse_insert("I\0\0\x40\x01N\0\x04t\0\0\0\x02"
                   "42nut\0\0\0\0"sv,
                   row));
  CHECK(row.oid == 16385);
  REQUIRE(row.new_row.size() == 4);
  CHECK(row.new_row[0] == Value{ValueKind::text, "42"});
  CHECK(row.new_row[1] == Value{ValueKind::null, {}});
  CHECK(row.new_row[2] == Value{ValueKind::unchanged, {}});
  CHECK(row.new_row[3] == Value{ValueKind::text, ""});
  CHECK(row.old_kind == OldTuple::none);
}

TEST_CASE("pgoutput: Commit, Origin, Type") {
  Commit commit;
  REQUIRE(parse_commit(t::commit(5, 9, 1'000'000), commit));
  CHECK(commit.commit_lsn == Lsn{5});
  CHECK(commit.end_lsn == Lsn{9});
  CHECK(commit.commit_time == TimeMicros{946'684'801'000'000});
  Origin origin;
  const std::string origin_bytes = t::origin(3, "node");
  REQUIRE(parse_origin(origin_bytes, origin));
  CHECK(origin.name == "node");
  TypeName type;
  const std::string type_bytes = t::type(16400, "", "int4");
  REQUIRE(parse_type(type_bytes, type));
  CHECK(type.schema == "pg_catalog");
  CHECK(type.name == "int4");
}

TEST_CASE("pgoutput: a time before 1970 and one that overflows are only numbers") {
  Begin begin;
  REQUIRE(parse_begin(t::begin(1, static_cast<uint64_t>(-1'000'000'000'000'000LL)), begin));
  CHECK(begin.commit_time.value == -53'315'200'000'000LL);
  REQUIRE(parse_begin(t::begin(1, 0x7FFFFFFFFFFFFFFFULL), begin));
}

TEST_CASE("pgoutput: Relation") {
  Relation relation;
  const std::string bytes =
      t::relation(16385, "", "Odd name", 'i', {{"id", 23, true}, {"", 16400, false}});
  REQUIRE(parse_relation(bytes, relation));
  CHECK(relation.schema == "pg_catalog");
  CHECK(relation.name == "Odd name");
  CHECK(relation.identity == ReplicaIdentity::index);
  REQUIRE(relation.columns.size() == 2);
  CHECK(relation.columns[0].in_key);
  CHECK(relation.columns[1].type_oid == 16400);
  CHECK(relation.columns[1].type_modifier == -1);
}

TEST_CASE("pgoutput: Update and Delete tell a key from a whole old row") {
  RowMessage row;
  const std::string plain = t::update(1, {"1"});
  REQUIRE(parse_update(plain, row));
  CHECK(row.old_kind == OldTuple::none);
  const std::string keyed = t::update(1, 'K', {"1"}, {"2"});
  REQUIRE(parse_update(keyed, row));
  CHECK(row.old_kind == OldTuple::key);
  CHECK(row.old_row[0].text == "1");
  CHECK(row.new_row[0].text == "2");
  REQUIRE(parse_update(plain, row));
  CHECK(row.old_row.empty());
  const std::string removed = t::remove(1, 'O', {"1"});
  REQUIRE(parse_delete(removed, row));
  CHECK(row.old_kind == OldTuple::full);
  CHECK(row.new_row.empty());
}

TEST_CASE("pgoutput: Truncate and Message") {
  Truncate truncate;
  REQUIRE(parse_truncate(t::truncate({4, 5}, 2), truncate));
  CHECK(truncate.oids == std::vector<uint32_t>{4, 5});
  CHECK(truncate.restart_identity);
  CHECK_FALSE(truncate.cascade);
  LogicalMessage message;
  const std::string bytes = t::message(true, 8, "p", std::string("a\0b", 3));
  REQUIRE(parse_message(bytes, message));
  CHECK(message.transactional);
  CHECK(message.prefix == "p");
  CHECK(message.content == "a\0b"sv);
}

TEST_CASE("pgoutput: golden bytes of the messages around open transactions") {
  StreamStart start;
  REQUIRE(parse_stream_start("S\0\0\x02\xDB\x01"sv, start));
  CHECK(start.xid == 731);
  CHECK(start.first);
  REQUIRE(parse_stream_start("S\0\0\x02\xDB\0"sv, start));
  CHECK_FALSE(start.first);
  CHECK(parse_stream_stop("E"));
  StreamCommit end;
  REQUIRE(parse_stream_commit(
      "c\0\0\x02\xDB\0\0\0\0\0\x01\x6B\x37\x48\0\0\0\0\x01\x6B\x37\x78\0\0\0\0\0\0\0\x2A"sv, end));
  CHECK(end.xid == 731);
  CHECK(to_string(end.commit.commit_lsn) == "0/16B3748");
  CHECK(to_string(end.commit.end_lsn) == "0/16B3778");
  CHECK(to_string(end.commit.commit_time) == "2000-01-01T00:00:00.000042Z");
  StreamAbort abort;
  REQUIRE(parse_stream_abort("A\0\0\x02\xDB\0\0\x02\xDC"sv, abort));
  CHECK(abort.xid == 731);
  CHECK(abort.subxid == 732);
  StreamedMessage streamed;
  REQUIRE(parse_streamed("I\0\0\x02\xDC\0\0\x40\x01N\0\0"sv, streamed));
  CHECK(streamed.xid == 732);
  CHECK(streamed.letter == 'I');
  CHECK(streamed.body == "\0\0\x40\x01N\0\0"sv);
  REQUIRE(parse_streamed("O\0\0\0\0\0\0\0\1n\0"sv, streamed));
  CHECK(streamed.xid == 0);
  CHECK(streamed.body == "\0\0\0\0\0\0\0\1n\0"sv);
  for (size_t length = 1; length < 5; ++length) {
    const std::string cut("I\0\0\0\1"sv.substr(0, length));
    CHECK_FALSE(parse_streamed(cut, streamed));
  }
  CHECK(error_of(parse_streamed("I\0\0\0\0rest"sv, streamed)).find("found 0") != std::string::npos);
  CHECK_FALSE(parse_stream_start("S\0\0\0\0\1"sv, start));
  CHECK_FALSE(parse_stream_start("S\0\0\0\1\2"sv, start));
}

TEST_CASE("pgoutput: every message is refused when cut at any length") {
  for (const std::string& whole : every_message()) {
    CAPTURE(whole);
    REQUIRE(parse_any(whole));
    for (size_t length = 1; length < whole.size(); ++length) {
      CAPTURE(length);
      // In a buffer of its own, so that a sanitizer sees a read past its end.
      const std::string cut(whole.data(), length);
      const Status status = parse_any(cut);
      REQUIRE_FALSE(status);
      CHECK(status.error().code() == ErrorCode::corruption);
    }
  }
}

TEST_CASE("pgoutput: every message is refused with one byte too many") {
  for (const std::string& whole : every_message()) {
    CAPTURE(whole);
    const Status status = parse_any(whole + "x");
    REQUIRE_FALSE(status);
    CHECK(status.error().code() == ErrorCode::corruption);
  }
}

TEST_CASE("pgoutput: an error says what was expected and where") {
  RowMessage row;
  CHECK(error_of(parse_insert("I\0\0\0\1X\0\0"sv, row)) ==
        "pgoutput Insert: expected 'N' before the new row at byte 5, found 'X'");
  CHECK(error_of(parse_insert("I\0\0\0\1N\0\1z"sv, row)) ==
        "pgoutput Insert: expected a value kind 'n', 'u' or 't' at byte 8, found 'z'");
  CHECK(error_of(parse_insert("I\0\0\0\1N\0\1t\0\0\0\5abc"sv, row)) ==
        "pgoutput Insert: expected 5 more byte(s) at byte 13, the message ends");
  CHECK(error_of(parse_delete("D\0\0\0\1N\0\0"sv, row)) ==
        "pgoutput Delete: expected 'K' or 'O' before the old row at byte 5, found 'N'");
  Begin begin;
  CHECK(error_of(parse_begin(t::begin(1) + "??", begin)) ==
        "pgoutput Begin: expected the end at byte 21, found 2 more byte(s)");
  Relation relation;
  CHECK(error_of(parse_relation("R\0\0\0\1s\0t\0\x01\0\0"sv, relation)) ==
        "pgoutput Relation: expected a replica identity 'd', 'n', 'f' or 'i' at byte 9, found "
        "byte 0x01");
}

TEST_CASE("pgoutput: a binary value is refused as not asked for") {
  RowMessage row;
  const Status status = parse_insert("I\0\0\0\1N\0\1b\0\0\0\4\0\0\0\1"sv, row);
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == ErrorCode::fatal);
}

TEST_CASE("pgoutput: counts larger than the message allocate nothing") {
  RowMessage row;
  CHECK_FALSE(parse_insert("I\0\0\0\1N\xFF\xFF"sv, row));
  CHECK(row.new_row.capacity() == 0);
  Truncate truncate;
  CHECK_FALSE(parse_truncate("T\xFF\xFF\xFF\xFF\0"sv, truncate));
  CHECK(truncate.oids.capacity() == 0);
  LogicalMessage message;
  CHECK_FALSE(parse_message("M\0\0\0\0\0\0\0\0\1p\0\xFF\xFF\xFF\xFF"sv, message));
}
