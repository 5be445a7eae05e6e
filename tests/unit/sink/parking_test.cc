#include "relay/sink/parking.h"

#include <algorithm>
#include <set>

#include <doctest/doctest.h>

#include "relay/sink/apply_batch.h"
#include "tests/unit/sink/history.h"

using namespace millrace;
using namespace millrace::sink;
using namespace millrace::sink::test;

namespace {

const TableSchemaPtr kTable = make_table("t", {"id", "v"}, 1);
const TableSchemaPtr kOther = make_table("o", {"id", "v"}, 1);
const TableSchemaPtr kHeap = make_table("h", {"a", "v"}, 0);

// A MemoryTarget that rejects rows with the value "bad", and keeps letters.
class ParkingTarget : public MemoryTarget, public LetterBox {
 public:
  std::vector<Letter> box;
  int64_t edited = 0;
  bool ready = true;
  size_t boxes_written = 0;
  size_t forgets = 0;

  Status write(const BatchPlan& plan, bool in_order) override {
    for (const TablePlan& table : plan.tables) {
      for (const PlannedRow& row : table.rows) {
        for (const Value& value : row.row) {
          if (value.text != "bad") continue;
          ++writes;
          in_order_writes += in_order ? 1 : 0;
          return fail(in_order ? ErrorCode::rejected : ErrorCode::conflict, "no bad values");
        }
      }
    }
    return MemoryTarget::write(plan, in_order);
  }
  LetterBox* letters() override { return this; }

  Result<std::optional<std::vector<LetterKey>>> parked_keys() override {
    if (!ready) return std::optional<std::vector<LetterKey>>();
    return std::optional(std::vector<LetterKey>(box.begin(), box.end()));
  }
  int64_t edits() const override { return edited; }
  Status park(std::span<const Letter> letters) override {
    ++boxes_written;
    box.insert(box.end(), letters.begin(), letters.end());
    return {};
  }
  Result<uint64_t> forget(const std::string& table) override {
    ++forgets;
    return std::erase_if(box, [&](const Letter& letter) { return letter.table == table; });
  }
  Result<std::vector<Letter>> list() override { return box; }
  Result<std::vector<Letter>> chain(const LetterKey&) override { return box; }
  Result<std::vector<Letter>> read(std::span<const int64_t>) override { return box; }
  Status begin_edit(uint32_t) override { return {}; }
  Status remove(std::span<const int64_t>) override { return {}; }
  Status journal(const std::string&, const std::string&) override { return {}; }
  Status failed_again(int64_t, const std::string&) override { return {}; }
};

std::string key_text(const Change& change, bool before) {
  const Row row =
      change.after.empty() || (before && !change.before.empty()) ? change.before : change.after;
  std::string out;
  for (size_t i = 0; i < row.size(); ++i) {
    if (change.table->columns[i].in_key) out += std::string(row[i].text) + "|";
  }
  return out;
}

// Parked changes are kept in `kept`; a letter's `change` is its place there.
LetterCodec codec(ChangeBatch& kept) {
  return {
      [](const Change& change, bool before, std::string& out) { out = key_text(change, before); },
      [&kept](const Change& change) {
        Letter letter;
        letter.change = std::to_string(kept.size());
        kept.add(change, TableSchemaPtr(TableSchemaPtr(), change.table));
        letter.table = display_name(*change.table);
        letter.key_columns = key_columns(*change.table);
        letter.key = key_text(change, false);
        if (const auto old = key_text(change, true); old != letter.key) letter.old_key = old;
        letter.op = change.op;
        letter.position = change.position;
        return letter;
      }};
}

struct Fixture {
  ParkingTarget target;
  Planner planner;
  ParkingOptions options{true, 1000};
  std::optional<Parking> parking;
  ChangeBatch kept;
  History h;

  Status apply() {
    if (!parking) {
      parking.emplace(target, options, codec(kept));
      TRY(parking->load());
    }
    TRY(parking->begun());
    auto done = apply_batch(target, h.batch.changes(), planner, &*parking);
    h.batch.clear();
    return done;
  }
  // "insert 1|", "update 2| behind": what stands in the box.
  std::vector<std::string> box() const {
    auto letters = target.box;
    std::stable_sort(letters.begin(), letters.end(),
                     [](const Letter& a, const Letter& b) { return a.position < b.position; });
    std::vector<std::string> out;
    for (const Letter& letter : letters) {
      out.push_back(std::string(to_string(letter.op)) + " " + letter.key +
                    (letter.failed ? "" : " behind"));
    }
    return out;
  }
};

using Box = std::vector<std::string>;

}  // namespace

TEST_CASE_FIXTURE(Fixture, "Parking: nothing parked costs no write and no question") {
  for (int i = 0; i < 1000; ++i) h.insert(kTable, {text(std::to_string(i)), text("ok")});
  REQUIRE(apply());
  CHECK(target.writes == 1);
  CHECK(target.boxes_written == 0);
}

TEST_CASE_FIXTURE(Fixture, "Parking: one bad row among many is parked, with the rest in bulk") {
  for (int i = 0; i < 2000; ++i) {
    h.insert(kTable, {text(std::to_string(i)), text(i == 777 ? "bad" : "ok")});
  }
  REQUIRE(apply());
  CHECK(box() == Box{"insert 777|"});
  CHECK(target.tables["t"].size() == 1999);
  CHECK(target.in_order_writes <= 32);
  CHECK(parking->news().failed == 1);
  CHECK(parking->news().errors.front().message() == "no bad values");
}

TEST_CASE_FIXTURE(Fixture, "Parking: every later change of the key waits, in order; others go on") {
  h.insert(kTable, {text("1"), text("bad")});
  h.insert(kTable, {text("2"), text("x")});
  h.update(kTable, {text("1"), text("fine")});
  h.insert(kOther, {text("1"), text("another table's 1")});
  h.remove(kTable, {text("1"), null()});
  h.commit();
  REQUIRE(apply());
  h.insert(kTable, {text("1"), text("again")});
  h.update(kTable, {text("2"), text("y")});
  REQUIRE(apply());
  // Collapsed, the key's first three changes are one delete, which the target takes.
  CHECK(box() == Box{});
  CHECK(target.tables["t"] == MemoryTable{{{"1"}, {"1", "again"}}, {{"2"}, {"2", "y"}}});

  h.commit();
  h.update(kTable, {text("1"), text("bad")});
  REQUIRE(apply());
  h.commit();
  h.update(kTable, {text("1"), text("fine")});
  h.update(kTable, {text("2"), text("z")});
  h.remove(kTable, {text("1"), null()});
  REQUIRE(apply());
  CHECK(box() == Box{"update 1|", "update 1| behind", "delete 1| behind"});
  CHECK(target.tables["t"] == MemoryTable{{{"1"}, {"1", "again"}}, {{"2"}, {"2", "z"}}});
}

TEST_CASE_FIXTURE(Fixture, "Parking: a changed key ties both keys together, whichever was parked") {
  target.tables["t"] = {{{"1"}, {"1", "a"}}, {{"9"}, {"9", "a"}}};
  h.update(kTable, {text("1"), text("bad")});
  h.update(kTable, {text("2"), text("moved")}, {text("1"), null()});
  h.commit();
  REQUIRE(apply());
  h.update(kTable, {text("3"), text("bad")});  // another chain begins
  h.commit();
  REQUIRE(apply());
  h.insert(kTable, {text("1"), text("new 1")});
  h.update(kTable, {text("2"), text("b")});
  h.update(kTable, {text("3"), text("from 9")}, {text("9"), null()});
  h.insert(kTable, {text("9"), text("new 9")});
  REQUIRE(apply());
  // The first two collapse to a move that the target takes, so key 1 and 2 are free.
  CHECK(box() == Box{"update 3|", "update 3| behind", "insert 9| behind"});
  CHECK(target.tables["t"] ==
        MemoryTable{{{"1"}, {"1", "new 1"}}, {{"2"}, {"2", "b"}}, {{"9"}, {"9", "a"}}});
}

TEST_CASE_FIXTURE(Fixture, "Parking: a failed change of the key taints the old and the new key") {
  target.tables["t"] = {{{"1"}, {"1", "a"}}};
  h.update(kTable, {text("2"), text("bad")}, {text("1"), null()});
  REQUIRE(apply());
  h.insert(kTable, {text("1"), text("x")});
  h.update(kTable, {text("2"), text("y")});
  REQUIRE(apply());
  CHECK(box() == Box{"update 2|", "insert 1| behind", "update 2| behind"});
  CHECK(target.tables["t"] == MemoryTable{{{"1"}, {"1", "a"}}});
}

TEST_CASE_FIXTURE(Fixture,
                  "Parking: what fails early in a batch takes what comes later in it along") {
  for (int i = 0; i < 500; ++i) h.insert(kTable, {text(std::to_string(i)), text("ok")});
  h.update(kTable, {text("7"), text("bad")});
  for (int i = 500; i < 1000; ++i) h.insert(kTable, {text(std::to_string(i)), text("ok")});
  h.truncate({kOther});  // divides the plans
  h.update(kTable, {text("7"), text("later")});
  h.update(kTable, {text("8"), text("later")});
  REQUIRE(apply());
  CHECK(box() == Box{"update 7|", "update 7| behind"});
  CHECK(target.tables["t"][{"7"}][1] == "ok");
  CHECK(target.tables["t"][{"8"}][1] == "later");
}

TEST_CASE_FIXTURE(Fixture, "Parking: a truncate makes letters of its table moot, of no other") {
  h.insert(kTable, {text("1"), text("bad")});
  h.insert(kOther, {text("1"), text("bad")});
  REQUIRE(apply());
  h.update(kTable, {text("1"), text("still before")});
  h.insert(kTable, {text("2"), text("bad")});  // fails in the same batch, before the truncate
  h.truncate({kTable});
  h.insert(kTable, {text("1"), text("after")});
  REQUIRE(apply());
  CHECK(box() == Box{"insert 1|"});
  CHECK(target.box.front().table == "public.o");
  CHECK(parking->count() == 1);
  CHECK(target.tables["t"] == MemoryTable{{{"1"}, {"1", "after"}}});
}

TEST_CASE_FIXTURE(Fixture, "Parking: rows of a table without a key wait alone") {
  h.insert(kHeap, {text("1"), text("bad")});
  h.insert(kHeap, {text("1"), text("ok")});
  REQUIRE(apply());
  h.insert(kHeap, {text("1"), text("ok")});
  REQUIRE(apply());
  CHECK(target.box.size() == 1);
  CHECK(target.heaps["h"].size() == 2);
  h.truncate({kHeap});
  REQUIRE(apply());
  CHECK(target.box.empty());
}

TEST_CASE_FIXTURE(Fixture, "Parking: an operator's edit frees the key for the next transaction") {
  h.insert(kTable, {text("1"), text("bad")});
  REQUIRE(apply());
  target.box.clear();  // dropped
  ++target.edited;
  h.insert(kTable, {text("1"), text("ok")});
  REQUIRE(apply());
  CHECK(target.tables["t"].size() == 1);
  CHECK(parking->count() == 0);
}

TEST_CASE_FIXTURE(Fixture, "Parking: under stop a parked key still holds its changes back") {
  Letter letter;
  letter.table = "public.t";
  letter.key_columns = "id";
  letter.key = "1|";
  target.box.push_back(letter);
  options.takes_new = false;
  h.remove(kTable, {text("1"), null()});
  h.insert(kTable, {text("2"), text("ok")});
  REQUIRE(apply());
  CHECK(target.box.size() == 2);
  h.insert(kTable, {text("3"), text("bad")});
  const Status stopped = apply();
  REQUIRE_FALSE(stopped);
  CHECK(target.box.size() == 2);
}

TEST_CASE_FIXTURE(Fixture, "Parking: more than letters_max stops, and says how to go on") {
  options.letters_max = 3;
  for (int i = 0; i < 4; ++i) h.insert(kTable, {text(std::to_string(i)), text("bad")});
  const Status full = apply();
  REQUIRE_FALSE(full);
  CHECK(full.error().code() == ErrorCode::bad_data);
  CHECK(full.error().describe().find("target.max_parked") != std::string::npos);
  CHECK(full.error().hint().find("letters retry") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "Parking: what the stream brings waits behind a row of a copy") {
  History copied;
  copied.insert(kTable, {text("1"), text("bad")});
  copied.commit();
  h.commit();
  h.commit();
  REQUIRE(apply());
  REQUIRE(
      parking->park_row(copied.batch.changes()[0], Error(ErrorCode::rejected, "no bad values")));
  REQUIRE(parking->flush());
  CHECK(parking->news().failed == 1);
  parking->forget_news();
  CHECK(parking->news().failed == 0);
  h.update(kTable, {text("1"), text("fine")});
  h.insert(kTable, {text("2"), text("fine")});
  REQUIRE(apply());
  CHECK(box() == Box{"insert 1|", "update 1| behind"});
  CHECK(target.tables["t"] == MemoryTable{{{"2"}, {"2", "fine"}}});
}

TEST_CASE_FIXTURE(Fixture, "Parking: copies leave half of the room to the stream") {
  options.letters_max = 4;
  History copied;
  for (int i = 0; i < 3; ++i) copied.insert(kTable, {text(std::to_string(i)), text("bad")});
  REQUIRE(apply());
  const Error rejected(ErrorCode::rejected, "no bad values");
  REQUIRE(parking->park_row(copied.batch.changes()[0], rejected));
  REQUIRE(parking->park_row(copied.batch.changes()[1], rejected));
  const Status full = parking->park_row(copied.batch.changes()[2], rejected);
  REQUIRE_FALSE(full);
  CHECK(full.error().code() == ErrorCode::bad_data);
  CHECK(full.error().hint().find("backfill resume") != std::string::npos);
  REQUIRE(parking->flush());
  h.update(kTable, {text("0"), text("ok")});
  h.insert(kTable, {text("9"), text("bad")});
  REQUIRE(apply());
  CHECK(target.box.size() == 4);
}

TEST_CASE_FIXTURE(Fixture, "Parking: of a chunk that was given up nothing is remembered") {
  History copied;
  copied.insert(kTable, {text("1"), text("bad")});
  REQUIRE(apply());
  REQUIRE(parking->park_row(copied.batch.changes()[0], Error(ErrorCode::rejected, "no")));
  parking->undone();
  h.insert(kTable, {text("1"), text("ok")});
  REQUIRE(apply());
  CHECK(target.box.empty());
  CHECK(target.tables["t"].size() == 1);
  CHECK(parking->count() == 0);
}

TEST_CASE_FIXTURE(Fixture, "Parking: a key of other columns than the letters' is not guessed at") {
  h.insert(kTable, {text("1"), text("bad")});
  REQUIRE(apply());
  h.insert(make_table("t", {"id", "v"}, 2), {text("1"), text("ok")});
  const Status other = apply();
  REQUIRE_FALSE(other);
  CHECK(other.error().code() == ErrorCode::bad_data);
}

TEST_CASE_FIXTURE(Fixture,
                  "Parking: a box that was not set up is named where rows are to be parked") {
  target.ready = false;
  const Status missing = apply();
  REQUIRE_FALSE(missing);
  CHECK(missing.error().hint() == "millrace setup");
  parking.reset();
  options.takes_new = false;
  CHECK(apply());
}

// Random histories, some values bad: every key ends as the source has it, or is parked; and what is
// parked, replayed in order over a target that takes everything, gives the source's state.
TEST_CASE_FIXTURE(Fixture, "Parking: letters replayed in order give what the source has") {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    uint32_t state = seed;
    const auto random = [&state](uint32_t below) {
      state = state * 1664525 + 1013904223;
      return (state >> 16) % below;
    };
    Fixture f;
    MemoryTable source;
    for (int transaction = 0; transaction < 12; ++transaction) {
      for (int n = 0; n < 6; ++n) {
        const std::string id = std::to_string(random(5));
        const std::string value = random(4) == 0 ? "bad" : std::to_string(random(1000));
        const MemoryRow key{id};
        if (!source.contains(key)) {
          f.h.insert(kTable, {text(id), text(value)});
          source[key] = {id, value};
        } else if (random(4) == 0) {
          f.h.remove(kTable, {text(id), null()});
          source.erase(key);
        } else if (const std::string to = std::to_string(random(5));
                   random(3) == 0 && !source.contains({to})) {
          f.h.update(kTable, {text(to), text(value)}, {text(id), null()});
          source.erase(key);
          source[{to}] = {to, value};
        } else {
          f.h.update(kTable, {text(id), text(value)});
          source[key] = {id, value};
        }
      }
      f.h.commit();
      REQUIRE(f.apply());
    }
    std::set<std::string> parked;
    for (const Letter& letter : f.target.box) {
      parked.insert(letter.key);
      if (letter.old_key) parked.insert(*letter.old_key);
    }
    for (int id = 0; id < 5; ++id) {
      const MemoryRow key{std::to_string(id)};
      if (parked.contains(key[0] + "|")) continue;
      CHECK(source.contains(key) == f.target.tables["t"].contains(key));
      if (source.contains(key)) CHECK(source[key] == f.target.tables["t"][key]);
    }
    CHECK(f.target.unsound.empty());
    auto letters = f.target.box;
    std::sort(letters.begin(), letters.end(),
              [](const Letter& a, const Letter& b) { return a.position < b.position; });
    std::vector<Change> replay;
    for (const Letter& letter : letters) {
      replay.push_back(f.kept.changes()[std::stoul(letter.change)]);
    }
    MemoryTarget mended;
    mended.tables = f.target.tables;
    REQUIRE(apply_batch(mended, replay));
    CHECK(mended.tables["t"] == source);
  }
}
