// Decoder with transactions that are streamed while they are open (proto_version 2).
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "relay/decode/decoder.h"
#include "tests/unit/decode/memory_transactions.h"
#include "tests/unit/decode/pgoutput_builder.h"
#include "tests/unit/decode/recorder.h"

namespace t = millrace::testing;
using namespace millrace;
using namespace millrace::decode;

namespace {

constexpr uint32_t kTable = 16385;

struct Stream {
  Stream() : decoder(options()) {}

  Decoder::Options options() {
    Decoder::Options made;
    made.timeline = 1;
    made.open_transactions = &open;
    return made;
  }

  Status put(const std::string& message) { return decoder.decode(message, recorder); }
  void must(const std::string& message) {
    const Status status = put(message);
    REQUIRE_MESSAGE(status, (status ? "" : status.error().describe()));
  }
  void must(const std::vector<std::string>& messages) {
    for (const std::string& message : messages) must(message);
  }
  std::string error(const std::string& message) {
    const Status status = put(message);
    REQUIRE_FALSE(status);
    CHECK(status.error().code() == ErrorCode::corruption);
    return status.error().describe();
  }

  t::MemoryTransactions open;
  t::Recorder recorder;
  Decoder decoder;
};

std::string shape(const std::string& column) {
  return t::relation(kTable, "public", "t", 'd', {{"id", 23, true}, {column, 25}});
}
std::string row(const std::string& id) { return t::insert(kTable, {id, "v"}); }

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("Decoder: an open transaction is told of when it commits, in blocks or not") {
  Stream s;
  s.must({t::stream_start(7, true), t::in_stream(7, shape("v")), t::in_stream(7, row("1")),
          t::stream_stop()});
  CHECK(s.recorder.lines.empty());
  CHECK_FALSE(s.decoder.in_transaction());
  s.must({t::stream_start(7, false), t::in_stream(8, row("2")), t::stream_stop(),
          t::stream_commit(7, 0x100, 0x130)});
  CHECK(s.recorder.lines == Lines{"begin 0/100", "insert public.t 0 after ('1', 'v')",
                                  "insert public.t 1 after ('2', 'v')", "commit 0/100 end 0/130"});
  CHECK(s.open.messages.empty());
  CHECK_FALSE(s.decoder.in_transaction());
}

TEST_CASE("Decoder: open transactions interleave, also with whole ones") {
  Stream s;
  s.must({t::stream_start(7, true), t::in_stream(7, shape("v")), t::in_stream(7, row("7")),
          t::stream_stop(), t::stream_start(9, true), t::in_stream(9, shape("v")),
          t::in_stream(9, row("9")), t::stream_stop(), t::begin(0x100), shape("v"), row("1"),
          t::commit(0x100, 0x110), t::stream_commit(9, 0x110, 0x120),
          t::stream_commit(7, 0x120, 0x130)});
  CHECK(s.recorder.lines ==
        Lines{"begin 0/100", "insert public.t 0 after ('1', 'v')", "commit 0/100 end 0/110",
              "begin 0/110", "insert public.t 0 after ('9', 'v')", "commit 0/110 end 0/120",
              "begin 0/120", "insert public.t 0 after ('7', 'v')", "commit 0/120 end 0/130"});
}

TEST_CASE(
    "Decoder: a rolled back savepoint takes its own rows alone, a rolled back transaction all") {
  Stream s;
  s.must({t::stream_start(7, true), t::in_stream(7, shape("v")), t::in_stream(7, row("1")),
          t::in_stream(8, row("2")), t::stream_stop(), t::stream_abort(7, 8),
          t::stream_start(7, false), t::in_stream(7, shape("v")), t::in_stream(7, row("3")),
          t::stream_stop(), t::stream_start(9, true), t::in_stream(9, row("9")), t::stream_stop(),
          t::stream_abort(9, 9), t::stream_commit(7, 0x100, 0x130)});
  CHECK(s.recorder.lines == Lines{"begin 0/100", "insert public.t 0 after ('1', 'v')",
                                  "insert public.t 1 after ('3', 'v')", "commit 0/100 end 0/130"});
  CHECK(s.open.messages.empty());
  // The server tells of transactions that it never sent: nothing to drop.
  s.must(t::stream_abort(11, 11));
  // What was rolled back can not commit.
  CHECK(s.error(t::stream_commit(9, 0x200, 0x230)).find("expected its first block") !=
        std::string::npos);
}

TEST_CASE(
    "Decoder: a table described in an open transaction is known to it alone until it commits") {
  Stream s;
  s.must({t::begin(0x10), shape("old"), row("1"), t::commit(0x10, 0x20), t::stream_start(7, true),
          t::in_stream(7, shape("new")), t::in_stream(7, row("2")), t::stream_stop(),
          t::begin(0x20), row("3"), t::commit(0x20, 0x30)});
  CHECK(s.recorder.tables.back()->columns[1].name == "old");
  SUBCASE("committed") {
    s.must(t::stream_commit(7, 0x30, 0x40));
    CHECK(s.recorder.tables.back()->columns[1].name == "new");
    s.must({t::begin(0x40), row("4"), t::commit(0x40, 0x50)});
    CHECK(s.recorder.tables.back()->columns[1].name == "new");
  }
  SUBCASE("rolled back") {
    s.must({t::stream_abort(7, 7), t::begin(0x40), row("4"), t::commit(0x40, 0x50)});
    CHECK(s.recorder.tables.back()->columns[1].name == "old");
  }
  SUBCASE("described again before it commits") {
    s.must({t::begin(0x30), shape("newest"), row("4"), t::commit(0x30, 0x40),
            t::stream_commit(7, 0x40, 0x50)});
    CHECK(s.recorder.tables.back()->columns[1].name == "new");
    s.must({t::begin(0x50), row("5"), t::commit(0x50, 0x60)});
    CHECK(s.recorder.tables.back()->columns[1].name == "newest");
  }
}

TEST_CASE("Decoder: an open transaction may hold every kind of message") {
  Stream s;
  s.must(
      {t::stream_start(7, true), t::origin(0x5, "node_b"),
       t::in_stream(7, t::type(16400, "public", "mood")),
       t::in_stream(7, t::relation(kTable, "public", "t", 'd', {{"id", 23, true}, {"m", 16400}})),
       t::in_stream(7, t::insert(kTable, {"1", "ok"})),
       t::in_stream(8, t::update(kTable, 'K', {"1", 'n'}, {"2", 'u'})),
       t::in_stream(8, t::remove(kTable, 'K', {"2", 'n'})),
       t::in_stream(8, t::truncate({kTable}, 2)), t::in_stream(8, t::message(true, 0x7, "p", "c")),
       t::stream_stop(), t::stream_commit(7, 0x100, 0x130)});
  CHECK(s.recorder.lines == Lines{"begin 0/100", "insert public.t 0 after ('1', 'ok')",
                                  "update public.t 1 before ('1', null) after ('2', unchanged)",
                                  "delete public.t 2 before ('2', null)",
                                  "truncate public.t 3 with 1 from 3 restart", "message in p: c",
                                  "commit 0/100 end 0/130"});
  CHECK(s.recorder.tables.front()->columns[1].type_name == "mood");
}

TEST_CASE("Decoder: blocks in a wrong order are corruption") {
  const std::vector<std::string> first{t::stream_start(7, true), t::stream_stop()};
  const auto after = [](const std::vector<std::string>& messages, const std::string& last) {
    Stream s;
    s.must(messages);
    return s.error(last);
  };
  CHECK(after({}, t::stream_stop()).find("expected a Stream Start") != std::string::npos);
  CHECK(after({}, t::stream_start(7, false)).find("expected its first block first") !=
        std::string::npos);
  CHECK(after(first, t::stream_start(7, true)).find("had not come yet") != std::string::npos);
  CHECK(after({}, t::stream_commit(7, 1, 2)).find("expected its first block") != std::string::npos);
  CHECK(after(first, t::stream_commit(7, 2, 2)).find("expected an end after") != std::string::npos);
  CHECK(after(first, t::stream_commit(7, 0, 2)).find("found 0/0") != std::string::npos);
  for (const std::string& inside : {t::begin(1), t::commit(1, 2), t::stream_start(9, true),
                                    t::stream_commit(7, 1, 2), t::stream_abort(7, 7)}) {
    CHECK(after({t::stream_start(7, true)}, inside).find("expected the Stream Stop") !=
          std::string::npos);
  }
  for (const std::string& inside : {t::stream_start(7, true), t::stream_commit(7, 1, 2),
                                    t::stream_abort(7, 7), t::stream_stop()}) {
    CHECK(after({t::begin(1)}, inside).find("expected the Commit of 0/1") != std::string::npos);
  }
  // A row of a table that this transaction did not describe.
  CHECK(after({t::begin(1), shape("v"), t::commit(1, 2), t::stream_start(7, true),
               t::in_stream(7, row("1")), t::stream_stop()},
              t::stream_commit(7, 3, 4))
            .find("expected a Relation") != std::string::npos);
}

TEST_CASE("Decoder: what the spill refuses ends the decoding") {
  Stream s;
  s.open.refuse = true;
  s.must(t::stream_start(7, true));
  const Status status = s.put(t::in_stream(7, row("1")));
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == ErrorCode::retryable);
}

TEST_CASE("Decoder: streaming that was not asked for is refused") {
  t::Recorder recorder;
  for (const std::string& message : {t::stream_start(7, true), t::stream_stop(),
                                     t::stream_commit(7, 1, 2), t::stream_abort(7, 7)}) {
    Decoder decoder(Decoder::Options{1, {}, nullptr});
    const Status status = decoder.decode(message, recorder);
    REQUIRE_FALSE(status);
    CHECK(status.error().code() == ErrorCode::fatal);
  }
}
