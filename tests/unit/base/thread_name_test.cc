#include "relay/base/thread_name.h"

#include <fstream>
#include <string>
#include <thread>

#include <doctest/doctest.h>

namespace millrace::test {
namespace {

std::string comm() {
  std::string line;
  std::getline(std::ifstream("/proc/thread-self/comm"), line);
  return line;
}

}  // namespace

TEST_CASE("name_this_thread: the kernel shows the name, of this thread only") {
  const std::string before = comm();
  std::string inside;
  std::thread([&] {
    name_this_thread("capture");
    inside = comm();
  }).join();
  CHECK(inside == "capture");
  CHECK(comm() == before);
}

}  // namespace millrace::test
