// A damaged folder is an error that says how to go on, or an older truth; never a crash or a lie.
#include <filesystem>
#include <fstream>
#include <iterator>

#include <doctest/doctest.h>

#include "tests/unit/checkpoint/samples.h"

namespace millrace::checkpoint::test {
namespace {

namespace fs = std::filesystem;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kManifests = 300;  // each takes many times as long
#else
constexpr int64_t kManifests = 3000;
#endif

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void spit(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// Some history in table files, some in the write-ahead log only.
void fill(const std::string& path) {
  for (const int64_t first : {int64_t{0}, kManifests / 2}) {  // opening again flushes the log
    const auto store = open_owner(path);
    for (int64_t n = first; n < first + kManifests / 2; ++n) {
      must(store->put(manifest(n, {kNoon.value + n * kSecond}), false));
    }
  }
}

// Opens and reads everything. Values that are read must be ones that were written.
void open_and_read(const std::string& path, Mode mode) {
  const auto accept = [](const Error& error) {
    INFO(error.describe());
    const bool known = error.code() == ErrorCode::corruption ||
                       error.code() == ErrorCode::refused || error.code() == ErrorCode::retryable ||
                       error.code() == ErrorCode::config;
    CHECK(known);
    if (error.code() == ErrorCode::corruption) {
      CHECK(error.hint().find("it is rebuilt from the log") != std::string::npos);
    }
  };
  const auto opened = Store::open({.path = path, .pipeline = "shop", .mode = mode});
  if (!opened) return accept(opened.error());
  const auto latest = (*opened)->latest(Kind::published);
  if (!latest) return accept(latest.error());
  if (*latest) {
    const int64_t n = (*latest)->manifest_offset;
    CHECK((n >= 0 && n < kManifests));
    CHECK(**latest == manifest(n, {kNoon.value + n * kSecond}));
  }
  const auto history = (*opened)->history(Place{}, Place{9, Lsn{}}, 100'000);
  if (!history) return accept(history.error());
  for (const Entry& entry : *history) {
    CHECK(entry == manifest(entry.manifest_offset, entry.at));
  }
}

template <typename Damage>
void damage_each_file(const Damage& damage) {
  const TemporaryFolder folder;
  fill(folder.path());
  std::vector<fs::path> names;
  for (const auto& item : fs::directory_iterator(folder.path())) {
    const std::string name = item.path().filename().string();
    if (name != "LOCK" && !name.starts_with("LOG")) names.push_back(item.path().filename());
  }
  CHECK(names.size() >= 5);
  for (const fs::path& name : names) {
    CAPTURE(name.string());
    const std::string whole = slurp(folder.root() / "checkpoint" / name);
    for (const Mode mode : {Mode::owner, Mode::observer}) {
      const fs::path copy = folder.root() / "copy";
      fs::remove_all(copy);
      fs::copy(folder.path(), copy);
      damage(copy / name, whole);
      open_and_read(copy.string(), mode);
    }
  }
}

}  // namespace

TEST_CASE("damage: each file cut short") {
  damage_each_file([](const fs::path& file, const std::string& whole) {
    spit(file, whole.substr(0, whole.size() / 2));
  });
  damage_each_file([](const fs::path& file, const std::string&) { spit(file, ""); });
}

TEST_CASE("damage: each file gone") {
  damage_each_file([](const fs::path& file, const std::string&) { fs::remove(file); });
}

TEST_CASE("damage: bytes flipped in each file") {
  for (const size_t part : {1U, 2U, 3U}) {
    damage_each_file([part](const fs::path& file, std::string whole) {
      for (size_t at = whole.size() * part / 4; at < whole.size(); at += 997) whole[at] ^= '\x5A';
      spit(file, whole);
    });
  }
}

TEST_CASE(
    "damage: a table file with flipped bytes is corruption, and removing the folder mends it") {
  const TemporaryFolder folder;
  fill(folder.path());
  size_t damaged = 0;
  for (const auto& item : fs::directory_iterator(folder.path())) {
    if (item.path().extension() != ".sst") continue;
    std::string bytes = slurp(item.path());
    for (size_t at = 0; at < bytes.size(); at += 61) bytes[at] ^= '\x5A';
    spit(item.path(), bytes);
    ++damaged;
  }
  REQUIRE(damaged > 0);
  const auto opened = Store::open({.path = folder.path(), .pipeline = "shop"});
  REQUIRE(!opened);
  CHECK(opened.error().code() == ErrorCode::corruption);
  CHECK(opened.error().hint() ==
        "remove the folder " + folder.path() + "; it is rebuilt from the log");
  fs::remove_all(folder.path());
  CHECK(Store::open({.path = folder.path(), .pipeline = "shop"}));
}

}  // namespace millrace::checkpoint::test
