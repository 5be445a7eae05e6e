#include "relay/checkpoint/store.h"

#include <filesystem>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/checkpoint/samples.h"

namespace millrace::checkpoint::test {

TEST_CASE("Store: a new folder knows nothing") {
  const TemporaryFolder folder;
  const auto store = open_owner(folder.path());
  CHECK(!must(store->latest(Kind::published)));
  CHECK(!must(store->history_at(kNoon)));
  CHECK(must(store->history(Place{}, Place{99, Lsn{1}}, 10)).empty());
}

TEST_CASE("Store: the latest of each kind survives, without sync too, and keeps no ranges") {
  const TemporaryFolder folder;
  {
    const auto store = open_owner(folder.path());
    must(store->put(sample(Kind::published), true));
    must(store->put(sample(Kind::applied), false));
    Entry later = sample(Kind::applied);
    later.watermark.end_lsn = Lsn{0x17'0000'0000};
    later.ranges = {{"t", 0, 0, 1, 1}};
    must(store->put(later, false));
  }
  const auto store = open_owner(folder.path());
  CHECK(*must(store->latest(Kind::published)) == sample(Kind::published));
  CHECK(!must(store->latest(Kind::acknowledged)));
  const Entry applied = *must(store->latest(Kind::applied));
  CHECK(applied.watermark.end_lsn == Lsn{0x17'0000'0000});
  CHECK(applied.ranges.empty());
}

TEST_CASE("Store: only published manifests enter the history by themselves") {
  const TemporaryFolder folder;
  const auto store = open_owner(folder.path());
  must(store->put(sample(Kind::applied), false));
  Entry none = sample();
  none.manifest_offset = -1;
  must(store->put(none, false));
  CHECK(!must(store->history_at(kNoon)));
  Entry entry = sample();
  entry.ranges = {{"shop.public.accounts", 5, 10, 14, 2}};
  must(store->put(entry, false));
  CHECK(*must(store->history_at(kNoon)) == entry);
  CHECK(must(store->latest(Kind::published))->ranges.empty());
}

TEST_CASE("Store: another pipeline's folder or entry is refused") {
  const TemporaryFolder folder;
  {
    const auto store = open_owner(folder.path());
    Entry other = sample();
    other.pipeline = "stock";
    const auto put = store->put(other, false);
    REQUIRE(!put);
    CHECK(put.error().code() == ErrorCode::refused);
    CHECK(!store->add_history(other));
    CHECK(!must(store->latest(Kind::published)));
  }
  for (const Mode mode : {Mode::owner, Mode::observer}) {
    const auto opened = Store::open({.path = folder.path(), .pipeline = "stock", .mode = mode});
    REQUIRE(!opened);
    CHECK(opened.error().code() == ErrorCode::refused);
    CHECK(opened.error().message().find("belongs to pipeline shop, not to stock") !=
          std::string::npos);
  }
}

TEST_CASE("Store: a second owner is refused, naming the folder") {
  const TemporaryFolder folder;
  const auto store = open_owner(folder.path());
  const auto second = Store::open({.path = folder.path(), .pipeline = "shop"});
  REQUIRE(!second);
  CHECK(second.error().code() == ErrorCode::refused);
  CHECK(second.error().message() == "another process uses the checkpoint folder " + folder.path());
  CHECK(second.error().hint().find("another instance of this pipeline runs") != std::string::npos);
}

TEST_CASE("Store: an owner in another process is refused") {
  const TemporaryFolder folder;
  open_owner(folder.path());
  const std::string lock = folder.path() + "/LOCK";
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {  // only what is safe after a fork: the lock that RocksDB takes
    const int file = ::open(lock.c_str(), O_RDWR);
    struct flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    const char ok = file >= 0 && ::fcntl(file, F_SETLK, &whole) == 0 ? 'y' : 'n';
    const auto written = ::write(ready[1], &ok, 1);
    ::pause();
    ::_exit(written == 1 ? 0 : 1);
  }
  char ok = 'n';
  REQUIRE(::read(ready[0], &ok, 1) == 1);
  CHECK(ok == 'y');
  const auto opened = Store::open({.path = folder.path(), .pipeline = "shop"});
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  REQUIRE(!opened);
  CHECK(opened.error().code() == ErrorCode::refused);
  CHECK(Store::open({.path = folder.path(), .pipeline = "shop"}));
}

TEST_CASE("Store: an observer beside the owner sees what was written up to its refresh") {
  const TemporaryFolder folder;
  const auto owner = open_owner(folder.path());
  must(owner->put(manifest(1, kNoon), false));
  const auto observer = must(Store::open({.path = folder.path(), .mode = Mode::observer}));
  CHECK(must(observer->latest(Kind::published))->manifest_offset == 1);
  must(owner->put(manifest(2, {kNoon.value + 1}), false));
  CHECK(must(observer->latest(Kind::published))->manifest_offset == 1);
  must(observer->refresh());
  CHECK(must(observer->latest(Kind::published))->manifest_offset == 2);
  CHECK(must(observer->history(kNoon, {kNoon.value + 10}, 10)).size() == 2);
  const auto put = observer->put(manifest(3, kNoon), false);
  REQUIRE(!put);
  CHECK(put.error().code() == ErrorCode::fatal);
  must(owner->put(manifest(3, kNoon), false));
}

TEST_CASE("Store: an observer keeps up with an owner that flushes and compacts") {
  const TemporaryFolder folder;
  const auto owner = open_owner(folder.path());
  must(owner->put(manifest(0, kNoon), false));
  const auto observer = must(Store::open({.path = folder.path(), .mode = Mode::observer}));
  Entry big = sample();
  for (int i = 0; i < 200; ++i)
    big.ranges.push_back({std::to_string(i) + ".shop.public.a_table_of_usual_name", i, 0, 9, 9});
  for (int64_t n = 1; n <= 2000; ++n) {  // some 30 MB: write buffers go round several times
    big.manifest_offset = n;
    big.watermark.end_lsn = Lsn{static_cast<uint64_t>(n)};
    must(owner->put(big, false));
    if (n % 100 != 0) continue;
    must(observer->refresh());
    CHECK(must(observer->latest(Kind::published))->manifest_offset == n);
  }
}

TEST_CASE("Store: the published tables are kept, and replaced as a whole") {
  const TemporaryFolder folder;
  {
    const auto store = open_owner(folder.path());
    CHECK(must(store->tables()).empty());
    must(store->put_tables({"public.a", "public.b"}));
    must(store->put_tables({"public.b", "public.c"}));
  }
  CHECK(must(open_owner(folder.path())->tables()) ==
        std::vector<std::string>{"public.b", "public.c"});
}

TEST_CASE("Store: an observer finds no folder, or one without a checkpoint") {
  const TemporaryFolder folder;
  for (const std::string& path : {folder.path(), folder.root().string()}) {
    const auto opened = Store::open({.path = path, .mode = Mode::observer});
    REQUIRE(!opened);
    CHECK(opened.error().code() == ErrorCode::config);
  }
  CHECK(!std::filesystem::exists(folder.path()));
}

TEST_CASE("Store: an observer leaves nothing behind") {
  const TemporaryFolder folder;
  const TemporaryFolder own;  // other processes have observers in /tmp
  std::filesystem::create_directories(own.path());
  setenv("TMPDIR", own.path().c_str(), 1);
  const auto owner = open_owner(folder.path());
  {
    const auto observer = must(Store::open({.path = folder.path(), .mode = Mode::observer}));
    CHECK_FALSE(std::filesystem::is_empty(own.path()));
  }
  CHECK(std::filesystem::is_empty(own.path()));
  unsetenv("TMPDIR");
}

TEST_CASE("Store: a folder that can not be made is a config error") {
  const auto opened = Store::open({.path = "/proc/millrace/state", .pipeline = "shop"});
  REQUIRE(!opened);
  CHECK(opened.error().code() == ErrorCode::config);
}

}  // namespace millrace::checkpoint::test
