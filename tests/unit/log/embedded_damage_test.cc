// Damage to each file of the embedded log: what is read is what was written, up to some place, or
// it is called damage.
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include <doctest/doctest.h>

#include "relay/log/embedded/embedded_log.h"
#include "tests/unit/log/log_fixture.h"
#include "tests/unit/log/temp_folder.h"

using namespace millrace;
using namespace millrace::log;
using namespace millrace::log::contract;

namespace {

namespace fs = std::filesystem;

constexpr int kGroups = 12;
constexpr int kRows = 300;

EmbeddedOptions options_in(const fs::path& path) {
  EmbeddedOptions options;
  options.path = path;
  options.manifest_topic = "manifests";
  options.memory_bytes = 4 << 20;  // memtables of 1 MB: several files
  return options;
}

std::string row_of(int group, int row) {
  return std::to_string(group) + "/" + std::to_string(row) + std::string(1500, 'v');
}

// Groups of rows, each with a control record that ends in its range's start.
std::vector<OffsetRange> fill(const fs::path& path) {
  std::vector<OffsetRange> ranges;
  for (int half = 0; half < 2; half++) {
    auto log = must(open_embedded(options_in(path)));
    auto producer = must(log->producer());
    for (int i = 0; i < kGroups / 2; i++) {
      const int group = half * kGroups / 2 + i;
      Reports reports;
      for (int row = 0; row < kRows; row++) {
        append(*producer, reports, static_cast<GroupId>(group + 1), "t", "k", row_of(group, row));
      }
      must(producer->seal(static_cast<GroupId>(group + 1)));
      reports.wait(*producer, 1, 0);
      ranges.push_back(reports.groups[static_cast<GroupId>(group + 1)].at(0));
      append_control(*producer, "group " + std::to_string(group));
    }
  }
  return ranges;
}

// Damage was called by its name: never a wait, never a crash.
void check_named(const Error& error) {
  CAPTURE(error.describe());
  CHECK((error.code() == ErrorCode::corruption || error.code() == ErrorCode::refused));
}

void check_group(Reader& reader, const OffsetRange& range, int group) {
  auto cursor = reader.open(range);
  if (!cursor) return check_named(cursor.error());
  uint64_t rows = 0;
  while (true) {
    const auto record = (*cursor)->next();
    if (!record) return check_named(record.error());
    if (!*record) break;
    CHECK((*record)->value == row_of(group, static_cast<int>((*record)->offset - range.start)));
    rows++;
  }
  CHECK(rows == range.rows);  // the manifest's number would notice; here nothing may be missing
}

void open_and_read(const fs::path& path, const std::vector<OffsetRange>& ranges) {
  auto log = open_embedded(options_in(path));
  if (!log) return check_named(log.error());
  auto reader = must((*log)->reader());
  const Bounds bounds = must(reader->control_bounds());
  if (bounds.end == bounds.start) return;  // as if it had been lost
  must(reader->seek_control(bounds.start));
  for (int group = 0; group < bounds.end - bounds.start; group++) {
    const auto entry = reader->next_control(Millis(0));
    if (!entry) return check_named(entry.error());
    REQUIRE(*entry);
    CHECK((*entry)->value == "group " + std::to_string(group));
    check_group(*reader, ranges[static_cast<size_t>(group)], group);
  }
}

using Damage = std::function<void(const fs::path&, std::string)>;

void spit(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

void damage_each_file(const Damage& damage) {
  TempFolder folder;
  const fs::path whole = folder.path() / "whole";
  const auto ranges = fill(whole);
  int files = 0;
  for (const auto& item : fs::directory_iterator(whole)) {
    const std::string name = item.path().filename().string();
    if (name == "LOCK" || name.starts_with("LOG")) continue;
    CAPTURE(name);
    const fs::path copy = folder.path() / "copy";
    fs::remove_all(copy);
    fs::copy(whole, copy);
    std::ifstream in(item.path(), std::ios::binary);
    damage(copy / name, std::string(std::istreambuf_iterator<char>(in), {}));
    open_and_read(copy, ranges);
    files++;
  }
  CHECK(files >= 6);
}

}  // namespace

TEST_CASE("embedded damage: each file cut short") {
  damage_each_file([](const fs::path& file, const std::string& bytes) {
    spit(file, bytes.substr(0, bytes.size() / 2));
  });
}

TEST_CASE("embedded damage: each file empty") {
  damage_each_file([](const fs::path& file, const std::string&) { spit(file, ""); });
}

TEST_CASE("embedded damage: each file gone") {
  damage_each_file([](const fs::path& file, const std::string&) { fs::remove(file); });
}

TEST_CASE("embedded damage: bytes flipped in each file") {
  for (const size_t part : {1U, 2U, 3U}) {
    damage_each_file([part](const fs::path& file, std::string bytes) {
      for (size_t at = bytes.size() * part / 4; at < bytes.size(); at += 997) bytes[at] ^= '\x5A';
      spit(file, bytes);
    });
  }
}
