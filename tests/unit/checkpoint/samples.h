// Samples for the tests of relay/checkpoint: a folder that goes away, a clock that is set, an
// entry.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "relay/checkpoint/store.h"

namespace millrace::checkpoint::test {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "millrace-test-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    root_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& root() const { return root_; }
  std::string path() const { return (root_ / "checkpoint").string(); }

 private:
  std::filesystem::path root_;
};

class FakeClock final : public Clock {
 public:
  SteadyTime now() const override { return {}; }
  TimeMicros wall() const override { return wall_; }
  void set(TimeMicros wall) { wall_ = wall; }

 private:
  TimeMicros wall_;
};

inline constexpr int64_t kSecond = 1'000'000;
inline constexpr int64_t kHour = 3600 * kSecond;
inline constexpr int64_t kDay = 24 * kHour;
inline constexpr TimeMicros kNoon{1'763'719'200LL * kSecond};

inline Entry sample(Kind kind = Kind::published) {
  Entry entry;
  entry.kind = kind;
  entry.pipeline = "shop";
  entry.watermark = {1, Lsn{0x16'B374'D8A0}, Lsn{0x16'B374'D848}, TimeMicros{kNoon.value - 5}};
  entry.token = Token{77};
  entry.manifest_offset = 80;
  entry.epoch = 3;
  entry.system_identifier = "7000000000000000001";
  entry.at = kNoon;
  return entry;
}

// The n-th manifest of a stream, `at` a time.
inline Entry manifest(int64_t n, TimeMicros at) {
  Entry entry = sample();
  entry.watermark.end_lsn = Lsn{0x1000 + static_cast<uint64_t>(n) * 0x100};
  entry.manifest_offset = n;
  entry.at = at;
  return entry;
}

template <typename T>
T must(Result<T> result) {
  if (!result) FAIL(result.error().describe());
  return std::move(*result);
}
inline void must(const Status& status) {
  if (!status) FAIL(status.error().describe());
}

inline std::unique_ptr<Store> open_owner(const std::string& path, const Clock* clock = nullptr) {
  return must(Store::open({.path = path, .pipeline = "shop", .clock = clock}));
}

}  // namespace millrace::checkpoint::test
