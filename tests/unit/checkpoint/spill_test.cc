#include "relay/checkpoint/spill.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/checkpoint/samples.h"

namespace millrace::checkpoint::test {
namespace {

using Messages = std::vector<std::pair<uint64_t, std::string>>;

Messages replayed(Spill& spill, uint32_t xid) {
  Messages out;
  must(spill.replay(xid, [&](uint64_t sequence, std::string_view message) -> Status {
    out.emplace_back(sequence, message);
    return {};
  }));
  return out;
}

uint64_t bytes_in(const std::filesystem::path& folder) {
  uint64_t sum = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    std::error_code gone;  // RocksDB deletes files meanwhile
    const auto size = file.file_size(gone);
    if (!gone) sum += size;
  }
  return sum;
}

}  // namespace

TEST_CASE("Spill: gives back each transaction's messages in their order") {
  const TemporaryFolder folder;
  const auto spill = must(Spill::open(folder.path()));
  must(spill->add(7, 7, 1, 'I', "one"));
  must(spill->add(9, 9, 2, 'I', "other"));
  must(spill->add(7, 8, 3, 'U', ""));
  must(spill->add(7, 7, 300, 'D', std::string("a\0b", 3)));
  CHECK(replayed(*spill, 7) == Messages{{1, "Ione"}, {3, "U"}, {300, std::string("Da\0b", 4)}});
  CHECK(replayed(*spill, 7).size() == 3);  // until it is dropped
  CHECK(replayed(*spill, 9) == Messages{{2, "Iother"}});
  CHECK(replayed(*spill, 8).empty());
  CHECK(spill->transactions() == 2);
  must(spill->abort(7, 7));
  CHECK(replayed(*spill, 7).empty());
  CHECK(replayed(*spill, 9).size() == 1);
  CHECK(spill->transactions() == 1);
}

TEST_CASE("Spill: the first and the last transaction id are ids like others") {
  const TemporaryFolder folder;
  const auto spill = must(Spill::open(folder.path()));
  const uint32_t last = 0xFFFF'FFFF;
  must(spill->add(last, last - 1, 1, 'I', "x"));
  must(spill->add(last, last, 0xFFFF'FFFF'FFFF'FFFF, 'I', "y"));
  must(spill->add(3, 3, 3, 'I', "z"));
  CHECK(replayed(*spill, last).size() == 2);
  must(spill->abort(last, last));
  CHECK(replayed(*spill, last).empty());
  CHECK(replayed(*spill, 3).size() == 1);
}

TEST_CASE("Spill: a rolled back savepoint takes what was done since its first change") {
  const TemporaryFolder folder;
  const auto spill = must(Spill::open(folder.path()));
  must(spill->add(7, 7, 1, 'I', "a"));
  must(spill->add(7, 8, 2, 'I', "b"));
  must(spill->add(7, 9, 3, 'I', "c"));  // inside of 8
  must(spill->abort(7, 9));
  CHECK(replayed(*spill, 7) == Messages{{1, "Ia"}, {2, "Ib"}});
  must(spill->add(7, 8, 4, 'I', "d"));
  must(spill->abort(7, 8));
  CHECK(replayed(*spill, 7) == Messages{{1, "Ia"}});
  must(spill->add(7, 7, 5, 'I', "e"));
  must(spill->abort(7, 8));  // again: nothing of it is left, and nothing else goes
  must(spill->abort(7, 55));
  must(spill->abort(56, 57));
  CHECK(replayed(*spill, 7) == Messages{{1, "Ia"}, {5, "Ie"}});
}

TEST_CASE("Spill: long tails and whole transactions go too") {
  const TemporaryFolder folder;
  const auto spill = must(Spill::open(folder.path()));
  uint64_t sequence = 0;
  for (int i = 0; i < 3000; ++i) must(spill->add(7, 7, ++sequence, 'I', "kept"));
  for (int i = 0; i < 3000; ++i) must(spill->add(7, 8, ++sequence, 'I', "dropped"));
  must(spill->add(9, 9, ++sequence, 'I', "other"));
  must(spill->abort(7, 8));
  must(spill->add(7, 7, ++sequence, 'I', "later"));
  CHECK(replayed(*spill, 7).size() == 3001);
  must(spill->abort(7, 7));
  CHECK(replayed(*spill, 7).empty());
  CHECK(replayed(*spill, 9).size() == 1);
}

TEST_CASE("Spill: random nested savepoints leave what a transaction would") {
  std::mt19937 random(20261121);
  const TemporaryFolder folder;
  const auto spill = must(Spill::open(folder.path()));
  uint64_t sequence = 0;
  uint32_t next_xid = 100;
  for (int round = 0; round < 60; ++round) {
    // As a server would: a stack of open savepoints, each with an id once it has written.
    struct Level {
      uint32_t subxid = 0;
      std::vector<uint32_t> released;  // those inside that were let go
    };
    const uint32_t xid = next_xid++;
    std::vector<Level> stack{{xid, {}}};
    std::map<uint64_t, std::pair<uint32_t, std::string>> wanted;
    for (int step = 0; step < 200; ++step) {
      const auto choice = random() % 10;
      if (choice < 2) {
        stack.push_back({});
      } else if (choice == 2 && stack.size() > 1) {  // RELEASE
        Level top = std::move(stack.back());
        stack.pop_back();
        auto& into = stack.back().released;
        if (top.subxid != 0) into.push_back(top.subxid);
        into.insert(into.end(), top.released.begin(), top.released.end());
      } else if (choice == 3 && stack.size() > 1) {  // ROLLBACK TO: those inside first
        Level top = std::move(stack.back());
        stack.pop_back();
        if (top.subxid != 0) top.released.push_back(top.subxid);
        for (const uint32_t subxid : top.released) {
          must(spill->abort(xid, subxid));
          std::erase_if(wanted, [&](const auto& one) { return one.second.first == subxid; });
        }
      } else {
        if (stack.back().subxid == 0) {  // a parent gets its id before its child
          for (Level& level : stack) {
            if (level.subxid == 0) level.subxid = next_xid++;
          }
        }
        const std::string body = std::to_string(random());
        must(spill->add(xid, stack.back().subxid, ++sequence, 'I', body));
        wanted[sequence] = {stack.back().subxid, "I" + body};
      }
    }
    Messages expected;
    for (const auto& [at, one] : wanted) expected.emplace_back(at, one.second);
    CHECK(replayed(*spill, xid) == expected);
    if (round % 2 == 0) must(spill->abort(xid, xid));
  }
  CHECK(spill->transactions() == 30);
}

TEST_CASE("Spill: a visitor's error ends the replay") {
  const TemporaryFolder folder;
  const auto spill = must(Spill::open(folder.path()));
  must(spill->add(7, 7, 1, 'I', "a"));
  must(spill->add(7, 7, 2, 'I', "b"));
  int seen = 0;
  const Status done = spill->replay(7, [&](uint64_t, std::string_view) -> Status {
    ++seen;
    return fail(ErrorCode::cancelled, "stopped");
  });
  REQUIRE_FALSE(done);
  CHECK(done.error().code() == ErrorCode::cancelled);
  CHECK(seen == 1);
}

TEST_CASE("Spill: opening empties the folder, closing removes it") {
  const TemporaryFolder folder;
  {
    const auto spill = must(Spill::open(folder.path()));
    must(spill->add(7, 7, 1, 'I', "a"));
  }
  CHECK_FALSE(std::filesystem::exists(folder.path()));
  std::filesystem::create_directories(folder.path());
  std::ofstream(folder.path() + "/CURRENT") << "left by a killed process";
  const auto spill = must(Spill::open(folder.path()));
  CHECK(replayed(*spill, 7).empty());
}

TEST_CASE("Spill: the room of what has ended is given back") {
  const TemporaryFolder folder;
  const auto spill = must(Spill::open(folder.path()));
  std::mt19937 random(1);
  std::string body(1U << 20, ' ');
  for (int i = 0; i < 80; ++i) {
    std::generate(body.begin(), body.end(), [&] { return static_cast<char>(random()); });
    must(spill->add(7, 7, static_cast<uint64_t>(i) + 1, 'I', body));
  }
  CHECK(bytes_in(folder.path()) > (60U << 20));
  CHECK(spill->bytes_added() > (80U << 20));
  must(spill->abort(7, 7));
  CHECK(bytes_in(folder.path()) < (1U << 20));
  CHECK(spill->bytes_added() == 0);
  must(spill->add(9, 9, 100, 'I', "a"));
  CHECK(replayed(*spill, 9).size() == 1);
}

TEST_CASE("Spill: a folder that can not be made is a mistake of the config") {
  const TemporaryFolder folder;
  std::ofstream(folder.root() / "file") << "x";
  const auto spill = Spill::open((folder.root() / "file" / "spill").string());
  REQUIRE_FALSE(spill);
  CHECK(spill.error().code() == ErrorCode::config);
}

}  // namespace millrace::checkpoint::test
