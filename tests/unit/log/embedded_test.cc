// What only the embedded log does: one owner, retention, damage, observers, a full disk.
#include <filesystem>
#include <fstream>
#include <thread>

#include <doctest/doctest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay/log/embedded/embedded_log.h"
#include "tests/unit/log/log_fixture.h"
#include "tests/unit/log/temp_folder.h"

using namespace millrace;
using namespace millrace::log;
using namespace millrace::log::contract;

namespace {

EmbeddedOptions options_in(const TempFolder& folder) {
  EmbeddedOptions options;
  options.path = folder.path() / "log";
  options.manifest_topic = "manifests";
  return options;
}

OffsetRange write_group(Producer& producer, GroupId group, const std::string& topic, int rows,
                        size_t bytes) {
  Reports reports;
  for (int i = 0; i < rows; i++)
    append(producer, reports, group, topic, std::to_string(i), std::string(bytes, 'v'));
  must(producer.seal(group));
  reports.wait(producer, 1, 0);
  return reports.groups[group].at(0);
}

bool is_child() { return getenv("MILLRACE_TEST_FOLDER") != nullptr; }

// Runs a "child:" case in a process of its own (a mere fork would lack RocksDB's threads).
pid_t start_child(const char* test_case, const TempFolder& folder) {
  const pid_t child = fork();
  if (child != 0) return child;
  setenv("MILLRACE_TEST_FOLDER", folder.path().c_str(), 1);
  const std::string chosen = std::string("--test-case=") + test_case;
  execl("/proc/self/exe", "unit_log", chosen.c_str(), "--minimal", nullptr);
  _exit(99);
}

EmbeddedOptions options_of_child() {
  EmbeddedOptions options;
  options.path = std::string(getenv("MILLRACE_TEST_FOLDER")) + "/log";
  options.manifest_topic = "manifests";
  return options;
}

uint64_t folder_bytes(const std::filesystem::path& path) {
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    std::error_code gone;  // the log deletes files meanwhile
    const auto size = entry.file_size(gone);
    if (!gone) bytes += size;
  }
  return bytes;
}

}  // namespace

TEST_CASE("open_embedded: a second owner is refused, and the folder is named") {
  TempFolder folder;
  auto log = must(open_embedded(options_in(folder)));
  const auto second = open_embedded(options_in(folder));
  REQUIRE(!second);
  CHECK(second.error().code() == ErrorCode::refused);
  CHECK(second.error().message().find(options_in(folder).path) != std::string::npos);
  log.reset();
  CHECK(open_embedded(options_in(folder)));
}

TEST_CASE("open_embedded: another pipeline's folder is refused, to observers too") {
  const TempFolder folder;
  (void)must(open_embedded(options_in(folder)));
  for (const bool observer : {false, true}) {
    EmbeddedOptions options = options_in(folder);
    options.manifest_topic = "others";
    options.observer = observer;
    const auto opened = open_embedded(options);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code() == ErrorCode::refused);
    CHECK(opened.error().describe().find("another pipeline's") != std::string::npos);
    CHECK(opened.error().describe().find("`state`") != std::string::npos);
  }
}

TEST_CASE("child: writes and waits to be killed") {
  if (!is_child()) return;
  const EmbeddedOptions options = options_of_child();
  auto log = must(open_embedded(options));
  auto producer = must(log->producer());
  write_group(*producer, 1, "t", 500, 1000);
  append_control(*producer, "durable");
  for (GroupId group = 2; group < 50; group++)
    write_group(*producer, group, "t", 10, 100);  // orphans
  std::ofstream(options.path + ".ready") << "x";
  for (;;) pause();
}

TEST_CASE("open_embedded: what kill -9 leaves is readable up to the last durable control record") {
  TempFolder folder;
  const pid_t child = start_child("child: writes and waits to be killed", folder);
  for (int i = 0; i < 6000 && !std::filesystem::exists(folder.path() / "log.ready"); i++) {
    std::this_thread::sleep_for(Millis(50));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);

  auto log = must(open_embedded(options_in(folder)));
  auto reader = must(log->reader());
  must(reader->seek_control(0));
  CHECK(must(reader->next_control(Millis(60'000)))->value == "durable");
  CHECK(read(*reader, {"t", 0, 0, 500, 500}).records.size() == 500);
  auto producer = must(log->producer());
  CHECK(write_group(*producer, 1, "t", 1, 1).start == 500 + 48 * 10);
}

TEST_CASE("retention: by size, only what was released, and never the newest records") {
  TempFolder folder;
  EmbeddedOptions options = options_in(folder);
  options.retention_bytes = 8 << 20;
  options.retention_check = Millis(20);
  options.memory_bytes = 8 << 20;
  auto log = must(open_embedded(options));
  auto producer = must(log->producer());
  auto reader = must(log->reader());
  OffsetRange last;
  LogOffset control = -1;
  for (GroupId group = 1; group <= 30; group++) {
    last = write_group(*producer, group, "t", 1000, 1000);
    control = append_control(*producer, "m");
  }
  std::this_thread::sleep_for(Millis(200));
  CHECK(read(*reader, {"t", 0, 0, 1000, 1000}).records.size() == 1000);  // nothing is released yet
  CHECK(must(reader->control_bounds()).start == 0);

  log->release_before(control, {last});
  const SteadyTime until = system_clock().now() + Millis(300'000);
  while (reader->open({"t", 0, 0, 1000, 1000}) && system_clock().now() < until)
    std::this_thread::sleep_for(Millis(20));
  const auto gone = reader->open({"t", 0, 0, 1000, 1000});
  REQUIRE(!gone);
  CHECK(gone.error().code() == ErrorCode::refused);
  CHECK(gone.error().message().find("topic t, partition 0: offset 0 is wanted, the log holds [") !=
        std::string::npos);
  CHECK(read(*reader, last).records.size() == 1000);
  must(reader->control_at(control));

  // The start survives a new start; the space comes back with the compactions of further traffic.
  log.reset();
  log = must(open_embedded(options));
  reader = must(log->reader());
  CHECK(!reader->open({"t", 0, 0, 1000, 1000}));
  producer = must(log->producer());
  const auto bounded = [&] { return folder_bytes(options.path) < (size_t{60} << 20); };
  for (GroupId group = 1; group <= 60 || (group < 600 && !bounded()); group++) {
    last = write_group(*producer, group, "t", 1000, 1000);
    log->release_before(control, {last});
    std::this_thread::sleep_for(Millis(5));
  }
  CHECK(bounded());  // of 90 MB written, or more where compactions are slow to come
  CHECK(read(*reader, last).records.size() == 1000);
}

TEST_CASE("retention: by time, and the last control record stays") {
  TempFolder folder;
  EmbeddedOptions options = options_in(folder);
  options.retention = Millis(200);
  options.retention_check = Millis(20);
  auto log = must(open_embedded(options));
  auto producer = must(log->producer());
  auto reader = must(log->reader());
  OffsetRange last;
  LogOffset control = -1;
  for (GroupId group = 1; group <= 20; group++) {
    last = write_group(*producer, group, "t", 10, 10);
    control = append_control(*producer, "m");
    std::this_thread::sleep_for(Millis(10));
  }
  log->release_before(control, {last});
  const SteadyTime until = system_clock().now() + Millis(300'000);
  while (must(reader->control_bounds()).start == 0 && system_clock().now() < until)
    std::this_thread::sleep_for(Millis(20));
  std::this_thread::sleep_for(Millis(400));  // as old as anything else now
  const Bounds bounds = must(reader->control_bounds());
  CHECK(bounds.start > 0);
  CHECK(bounds.start <= control);
  CHECK(bounds.end == control + 1);
  CHECK(must(reader->control_at(control)).value == "m");
  const auto before = reader->seek_control(0);
  REQUIRE(!before);
  CHECK(before.error().code() == ErrorCode::refused);
  CHECK(read(*reader, last).records.size() == 10);
}

TEST_CASE("corruption: flipped bytes in a data file are an error that names topic and offset") {
  TempFolder folder;
  EmbeddedOptions options = options_in(folder);
  options.memory_bytes = 4 << 20;
  OffsetRange range;
  {
    auto log = must(open_embedded(options));
    auto producer = must(log->producer());
    range = write_group(*producer, 1, "t", 4000, 1000);
    append_control(*producer, "m");
  }
  int damaged = 0;
  for (const auto& entry : std::filesystem::directory_iterator(options.path)) {
    if (entry.path().extension() != ".blob") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(entry.file_size() / 2));
    file.write("damaged!", 8);
    damaged++;
  }
  REQUIRE(damaged > 0);
  auto log = must(open_embedded(options));
  auto reader = must(log->reader());
  auto cursor = must(reader->open(range));
  ErrorCode code = ErrorCode::fatal;
  std::string message;
  for (int i = 0; i < 4000; i++) {
    const auto record = cursor->next();
    if (record) continue;
    code = record.error().code();
    message = record.error().message();
    break;
  }
  CHECK(code == ErrorCode::corruption);
  CHECK(message.find("topic t, offset ") != std::string::npos);
}

TEST_CASE("observer: reads beside the owner and sees what it adds; it can not write") {
  TempFolder folder;
  EmbeddedOptions options = options_in(folder);
  options.memory_bytes = 4 << 20;  // so that values are in blob files, too
  auto owner = must(open_embedded(options));
  auto producer = must(owner->producer());
  const OffsetRange first = write_group(*producer, 1, "t", 5000, 1000);
  append_control(*producer, "one");

  options.observer = true;
  auto log = must(open_embedded(options));
  auto reader = must(log->reader());
  must(reader->seek_control(0));
  CHECK(must(reader->next_control(Millis(60'000)))->value == "one");
  CHECK(read(*reader, first).records.size() == 5000);
  CHECK(!must(reader->next_control(Millis(10))));

  const OffsetRange second = write_group(*producer, 2, "later", 5000, 1000);
  append_control(*producer, "two");
  const auto entry = must(reader->next_control(Millis(60'000)));
  REQUIRE(entry);
  CHECK(entry->value == "two");
  CHECK(read(*reader, second).records.size() == 5000);

  const auto refused = log->producer();
  REQUIRE(!refused);
  CHECK(refused.error().code() == ErrorCode::refused);
}

// The file size limit stands for a full disk, and is the whole process'.
TEST_CASE("child: writes until its files may not grow") {
  if (!is_child()) return;
  signal(SIGXFSZ, SIG_IGN);
  auto log = must(open_embedded(options_of_child()));
  auto producer = must(log->producer());
  write_group(*producer, 1, "t", 100, 1000);
  const LogOffset durable = append_control(*producer, "before");
  const rlimit limit{1 << 20, RLIM_INFINITY};
  setrlimit(RLIMIT_FSIZE, &limit);
  Reports reports;
  std::optional<Error> failure;
  for (int i = 0; i < 3000 && !failure; i++) {
    auto queued = producer->append(2, "t", "", std::string(1000, 'x'));
    if (!queued) failure = queued.error();
    auto events = producer->poll(Millis(queued && !*queued ? 100 : 0));
    if (!events) failure = events.error();
    if (events) reports.add(*events);
  }
  const SteadyTime until = system_clock().now() + Millis(60'000);
  while (!failure && system_clock().now() < until) {  // the writer may be behind
    auto events = producer->poll(Millis(100));
    if (!events) failure = events.error();
    if (events) reports.add(*events);
  }
  REQUIRE(failure);
  CHECK(failure->code() == ErrorCode::retryable);
  CHECK(reports.groups.empty());
  CHECK(reports.controls.empty());
  CHECK(!producer->append(3, "t", "", "x"));  // dead for good

  const rlimit no_limit{RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_FSIZE, &no_limit);
  auto next = must(log->producer());
  const OffsetRange range = write_group(*next, 1, "t", 10, 10);
  CHECK(append_control(*next, "after") > durable);
  auto reader = must(log->reader());
  CHECK(read(*reader, range).records.size() == 10);
  must(reader->seek_control(durable));
  CHECK(must(reader->next_control(Millis(60'000)))->value == "before");
  CHECK(must(reader->next_control(Millis(60'000)))->value == "after");
}

TEST_CASE("disk full: retryable, nothing of it is reported durable, and a new producer goes on") {
  TempFolder folder;
  const pid_t child = start_child("child: writes until its files may not grow", folder);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
