#include "relay/source/catch_up_pace.h"

#include <string>

#include <doctest/doctest.h>

namespace millrace::source {
namespace {

constexpr int64_t kNow = 1'700'000'000'000'000;
const std::string kLarge(1 << 20, 'x');

Frame data(std::string_view payload, int64_t sent_at) {
  Frame frame;
  frame.payload = payload;
  frame.sent_at = {sent_at};
  return frame;
}

Frame keepalive(int64_t sent_at) {
  Frame frame;
  frame.kind = Frame::Kind::keepalive;
  frame.sent_at = {sent_at};
  return frame;
}

}  // namespace

TEST_CASE("CatchUpPace: nothing read yet is no reason to wait") {
  CHECK(CatchUpPace().next_wait() == Millis(0));
}

TEST_CASE("CatchUpPace: waits when old transactions come in bulk") {
  CatchUpPace pace;
  pace.begun({kNow - 200'000});
  pace.received(data(kLarge, kNow));
  CHECK(pace.next_wait() == Millis(20));
}

TEST_CASE("CatchUpPace: a backlog that is old but small is read at once") {
  CatchUpPace pace;
  pace.begun({kNow - 3'600'000'000});
  pace.received(data(std::string_view(kLarge).substr(1), kNow));
  CHECK(pace.next_wait() == Millis(0));
  pace.received(data("x", kNow));
  CHECK(pace.next_wait() == Millis(20));
}

TEST_CASE("CatchUpPace: bulk that was committed a moment ago is read at once") {
  CatchUpPace pace;
  pace.begun({kNow - 199'999});
  pace.received(data(kLarge, kNow));
  CHECK(pace.next_wait() == Millis(0));
}

TEST_CASE("CatchUpPace: a transaction becomes old while it is sent") {
  CatchUpPace pace;
  pace.begun({kNow});
  pace.received(data(kLarge, kNow + 1000));
  CHECK(pace.next_wait() == Millis(0));
  pace.received(data("x", kNow + 200'000));
  CHECK(pace.next_wait() == Millis(20));
}

TEST_CASE("CatchUpPace: a server that has sent nothing meanwhile is waited for") {
  CatchUpPace pace;
  pace.begun({kNow - 1'000'000});
  pace.received(data(kLarge, kNow));
  CHECK(pace.next_wait() == Millis(20));
  CHECK(pace.next_wait() == Millis(0));
  pace.received(data("x", kNow));
  CHECK(pace.next_wait() == Millis(20));
}

TEST_CASE("CatchUpPace: a keepalive says that the server has nothing more") {
  CatchUpPace pace;
  pace.begun({kNow - 1'000'000});
  pace.received(data(kLarge, kNow));
  pace.received(keepalive(kNow));
  CHECK(pace.next_wait() == Millis(0));
  pace.received(data("x", kNow));
  CHECK(pace.next_wait() == Millis(0));
}

TEST_CASE("CatchUpPace: a clock that was set back is no lag") {
  CatchUpPace pace;
  pace.begun({kNow});
  pace.received(data(kLarge, kNow - 3'600'000'000));
  CHECK(pace.next_wait() == Millis(0));
}

}  // namespace millrace::source
