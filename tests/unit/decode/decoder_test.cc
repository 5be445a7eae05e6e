#include "relay/decode/decoder.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/decode/pgoutput_builder.h"
#include "tests/unit/decode/recorder.h"

namespace t = millrace::testing;
using namespace millrace;
using namespace millrace::decode;

namespace {

constexpr uint32_t kCustomers = 16385;
constexpr uint32_t kOrders = 16390;

struct Stream {
  explicit Stream(std::vector<std::string> primary_key = {})
      : decoder({1,
                 [this, primary_key](const std::string& schema,
                                     const std::string& table) -> Result<std::vector<std::string>> {
                   asked.push_back(schema + "." + table);
                   return primary_key;
                 }}) {}

  Status put(const std::string& message) { return decoder.decode(message, recorder); }
  void must(const std::string& message) {
    const Status status = put(message);
    REQUIRE_MESSAGE(status, (status ? "" : status.error().describe()));
  }
  ErrorCode code(const std::string& message) {
    const Status status = put(message);
    REQUIRE_FALSE(status);
    return status.error().code();
  }
  std::string error(const std::string& message) {
    const Status status = put(message);
    REQUIRE_FALSE(status);
    return status.error().describe();
  }
  std::string last() const { return recorder.lines.empty() ? "" : recorder.lines.back(); }

  // A transaction with public.customers (id, name, bio) described.
  void open(char identity = 'd', bool key = true, bool all_flagged = false) {
    must(t::begin(0x100));
    must(t::relation(kCustomers, "public", "customers", identity,
                     {{"id", 23, key}, {"name", 25, all_flagged}, {"bio", 25, all_flagged}}));
  }

  std::vector<std::string> asked;
  t::Recorder recorder;
  Decoder decoder;
};

}  // namespace

TEST_CASE("Decoder: a transaction gets positions in order") {
  Stream s;
  s.open();
  CHECK(s.decoder.in_transaction());
  s.must(t::insert(kCustomers, {"1", "Ada", 'n'}));
  s.must(t::update(kCustomers, {"1", "Grace", 'u'}));
  s.must(t::remove(kCustomers, 'K', {"1", 'n', 'n'}));
  s.must(t::commit(0x100, 0x130));
  CHECK_FALSE(s.decoder.in_transaction());
  CHECK(s.recorder.lines == std::vector<std::string>{
                                "begin 0/100",
                                "insert public.customers 0 after ('1', 'Ada', null)",
                                "update public.customers 1 after ('1', 'Grace', unchanged)",
                                "delete public.customers 2 before ('1', null, null)",
                                "commit 0/100 end 0/130",
                            });
  CHECK(s.recorder.positions[1] == Position{1, Lsn{0x100}, 1});
  CHECK(s.asked.empty());

  s.must(t::begin(0x200));
  s.must(t::insert(kCustomers, {"2", "Lin", 'n'}));
  CHECK(s.recorder.positions.back() == Position{1, Lsn{0x200}, 0});
}

TEST_CASE("Decoder: an update that moves the key carries the old key only") {
  Stream s;
  s.open();
  s.must(t::update(kCustomers, 'K', {"1", 'n', 'n'}, {"2", "Ada", 'u'}));
  CHECK(s.last() ==
        "update public.customers 0 before ('1', null, null) after ('2', 'Ada', unchanged)");
}

TEST_CASE("Decoder: a key tuple whose key did not change is no move, and fills a toasted key") {
  Stream s;
  s.open();
  s.must(t::update(kCustomers, 'K', {"long key", 'n', 'n'}, {'u', "Ada", 'u'}));
  CHECK(s.last() == "update public.customers 0 after ('long key', 'Ada', unchanged)");
}

TEST_CASE("Decoder: FULL with a primary key is a keyed table, and TOAST comes from the old row") {
  Stream s({"id"});
  s.open('f', true, true);
  CHECK(s.asked == std::vector<std::string>{"public.customers"});
  s.must(t::update(kCustomers, 'O', {"1", "Ada", "long"}, {"1", "Grace", 'u'}));
  CHECK(s.last() == "update public.customers 0 after ('1', 'Grace', 'long')");
  s.must(t::update(kCustomers, 'O', {"1", "Ada", 'n'}, {"9", "Ada", 'n'}));
  CHECK(s.last() == "update public.customers 1 before ('1', null, null) after ('9', 'Ada', null)");
  s.must(t::remove(kCustomers, 'O', {"9", "Ada", "x"}));
  CHECK(s.last() == "delete public.customers 2 before ('9', null, null)");
  CHECK(t::render(*s.recorder.tables.back()) == "public.customers [3] *id:23 name:25 bio:25");
}

TEST_CASE("Decoder: FULL without a key carries the whole old row") {
  Stream s;
  s.open('f', true, true);
  s.must(t::update(kCustomers, 'O', {"1", "Ada", "long"}, {"1", "Grace", 'u'}));
  CHECK(s.last() ==
        "update public.customers 0 before ('1', 'Ada', 'long') after ('1', 'Grace', 'long')");
  s.must(t::remove(kCustomers, 'O', {"1", 'n', "x"}));
  CHECK(s.last() == "delete public.customers 1 before ('1', null, 'x')");
  CHECK_FALSE(s.recorder.tables.back()->has_key());
  CHECK(s.code(t::remove(kCustomers, 'O', {"1", 'u', "x"})) == ErrorCode::corruption);
}

TEST_CASE("Decoder: a whole old row for a keyed table, as a partition with FULL sends it") {
  Stream s;
  s.open();
  s.must(t::update(kCustomers, 'O', {"1", "Ada", "long"}, {"1", "Ada", 'u'}));
  CHECK(s.last() == "update public.customers 0 after ('1', 'Ada', 'long')");
}

TEST_CASE("Decoder: a row that does not carry its key is bad data, with the table and the column") {
  Stream s;
  s.open();
  CHECK(s.code(t::remove(kCustomers, 'K', {'n', "Ada", 'n'})) == ErrorCode::bad_data);
  CHECK(s.error(t::update(kCustomers, {'u', "Ada", 'n'})).find("key column id") !=
        std::string::npos);
  CHECK(s.code(t::insert(kCustomers, {'n', "Ada", 'n'})) == ErrorCode::bad_data);

  Stream keyless;
  keyless.open('d', false);
  keyless.must(t::insert(kCustomers, {"1", "Ada", 'n'}));
  CHECK(keyless.code(t::update(kCustomers, {"1", "Ada", 'n'})) == ErrorCode::bad_data);
  CHECK(keyless.code(t::remove(kCustomers, 'K', {"1", 'n', 'n'})) == ErrorCode::bad_data);
}

TEST_CASE("Decoder: one TRUNCATE of several tables is one change a table, tied together") {
  Stream s;
  s.open();
  s.must(t::relation(kOrders, "public", "orders", 'd', {{"id", 23, true}}));
  s.must(t::insert(kCustomers, {"1", "Ada", 'n'}));
  s.must(t::truncate({kCustomers, kOrders}, 2));
  REQUIRE(s.recorder.lines.size() == 4);
  CHECK(s.recorder.lines[2] == "truncate public.customers 1 with 2 from 1 restart");
  CHECK(s.recorder.lines[3] == "truncate public.orders 2 with 2 from 1 restart");
  CHECK(s.recorder.truncated == std::vector<uint64_t>{s.recorder.tables[1]->fingerprint,
                                                      s.recorder.tables[2]->fingerprint});
}

TEST_CASE("Decoder: a truncation of an unknown table tells the handler nothing") {
  Stream s;
  s.open();
  CHECK(s.code(t::truncate({kCustomers, 999})) == ErrorCode::corruption);
  CHECK(s.recorder.lines.size() == 1);
}

TEST_CASE("Decoder: the same description keeps its schema, another one replaces it") {
  Stream s;
  s.open();
  s.must(t::insert(kCustomers, {"1", "Ada", 'n'}));
  s.must(t::commit(0x100, 0x130));
  s.open();
  s.must(t::insert(kCustomers, {"2", "Ada", 'n'}));
  CHECK(s.recorder.tables[0] == s.recorder.tables[1]);
  s.must(t::relation(kCustomers, "public", "customers", 'd', {{"id", 23, true}}));
  s.must(t::insert(kCustomers, {"3"}));
  CHECK(s.recorder.tables[2] != s.recorder.tables[1]);
  CHECK(s.recorder.tables[2]->fingerprint != s.recorder.tables[1]->fingerprint);
  CHECK(s.recorder.tables[0]->columns.size() == 3);
}

TEST_CASE("Decoder: types that are not built in get the names that the stream gave") {
  Stream s;
  s.must(t::begin(0x100));
  s.must(t::type(16400, "shop", "mood"));
  s.must(t::relation(kOrders, "public", "orders", 'd', {{"id", 23, true}, {"m", 16400, false}}));
  s.must(t::insert(kOrders, {"1", "happy"}));
  CHECK(t::render(*s.recorder.tables.back()) == "public.orders [1] *id:23 m:shop.mood");
  CHECK(s.code(t::relation(kOrders, "public", "orders", 'd', {{"x", 16401, true}})) ==
        ErrorCode::corruption);
}

TEST_CASE("Decoder: messages inside and outside transactions") {
  Stream s;
  s.must(t::message(false, 0x50, "beat", "1"));
  CHECK(s.last() == "message out beat: 1");
  CHECK(s.code(t::message(true, 0x50, "beat", "1")) == ErrorCode::corruption);
  s.must(t::begin(0x100));
  s.must(t::message(true, 0x50, "outbox", "{}"));
  CHECK(s.last() == "message in outbox: {}");
  s.must(t::origin(0x1, "b"));
}

TEST_CASE("Decoder: changes outside a transaction are refused") {
  Stream s;
  s.open();
  s.must(t::commit(0x100, 0x130));
  for (const std::string& message :
       {t::insert(kCustomers, {"1", "a", 'n'}), t::update(kCustomers, {"1", "a", 'n'}),
        t::remove(kCustomers, 'K', {"1", 'n', 'n'}), t::truncate({kCustomers}),
        t::commit(0x100, 0x130), t::origin(0x1, "b")}) {
    CAPTURE(message);
    CHECK(s.code(message) == ErrorCode::corruption);
  }
}

TEST_CASE("Decoder: Begin and Commit must belong together") {
  Stream s;
  s.must(t::begin(0x100));
  CHECK(s.error(t::begin(0x200)).find("expected the Commit of 0/100") != std::string::npos);
  CHECK(s.error(t::commit(0x200, 0x230)).find("expected commit LSN 0/100") != std::string::npos);
  CHECK(s.code(t::commit(0x100, 0x100)) == ErrorCode::corruption);
  CHECK(s.decoder.in_transaction());
  Stream zero;
  CHECK(zero.code(t::begin(0)) == ErrorCode::corruption);
}

TEST_CASE("Decoder: unknown tables and wrong widths are refused") {
  Stream s;
  s.open();
  CHECK(s.error(t::insert(999, {"1"})).find("Relation message for table OID 999") !=
        std::string::npos);
  CHECK(s.error(t::insert(kCustomers, {"1"})).find("expected 3 columns") != std::string::npos);
  CHECK(s.code(t::update(kCustomers, 'K', {"1"}, {"1", "a", 'n'})) == ErrorCode::corruption);
  CHECK(s.code(t::remove(kCustomers, 'K', {"1"})) == ErrorCode::corruption);
}

TEST_CASE("Decoder: messages of later protocols and unknown letters are refused by name") {
  Stream s;
  CHECK(s.error(t::Bytes().raw("S").u32(7).u8(1)).find("Stream Start") != std::string::npos);
  CHECK(s.code("E") == ErrorCode::fatal);
  CHECK(s.code(t::Bytes().raw("c").u32(7)) == ErrorCode::fatal);
  CHECK(s.code(t::Bytes().raw("A").u32(7).u32(7)) == ErrorCode::fatal);
  CHECK(s.code("z") == ErrorCode::corruption);
  CHECK(s.code("") == ErrorCode::corruption);
}

TEST_CASE("Decoder: a primary key that is not in the stream is bad data") {
  Stream s({"gone"});
  s.must(t::begin(0x100));
  CHECK(s.code(t::relation(kCustomers, "public", "customers", 'f', {{"id", 23, true}})) ==
        ErrorCode::bad_data);
}

TEST_CASE("Decoder: the handler's error is the decoder's") {
  struct Refuses : t::Recorder {
    Status on_change(const Change&, const TableSchemaPtr&) override {
      return fail(ErrorCode::cancelled, "stop");
    }
  } handler;
  Decoder decoder({1, {}});
  REQUIRE(decoder.decode(t::begin(0x100), handler));
  REQUIRE(decoder.decode(t::relation(1, "s", "t", 'd', {{"id", 23, true}}), handler));
  const Status status = decoder.decode(t::insert(1, {"1"}), handler);
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == ErrorCode::cancelled);
}
