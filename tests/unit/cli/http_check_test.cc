#include "relay/cli/http_check.h"

#include <array>
#include <thread>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace millrace::cli {
namespace {

// A server that takes connections and says nothing.
class SilentServer {
 public:
  SilentServer() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const plain = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(bind(socket_, plain, size) == 0);
    REQUIRE(listen(socket_, 8) == 0);
    REQUIRE(getsockname(socket_, plain, &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ~SilentServer() { close(socket_); }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/secret"; }

 private:
  int socket_;
  uint16_t port_ = 0;
};

std::string reason_within(HttpCheck& check, const std::string& word) {
  std::string reason;
  for (int i = 0; i < 1000; ++i) {
    reason = check.reason();
    if (reason.find(word) != std::string::npos) break;
    std::this_thread::sleep_for(Millis(10));
  }
  return reason;
}

}  // namespace

TEST_CASE("HttpCheck: 2xx goes on unless its body says to hold, all else holds with its reason") {
  CHECK(reason_of_answer(200, "").empty());
  CHECK(reason_of_answer(204, "").empty());
  CHECK(reason_of_answer(200, "busy").empty());
  CHECK(reason_of_answer(200, R"({"load": 3})").empty());
  CHECK(reason_of_answer(200, R"({"hold": false, "why": "x"})").empty());
  CHECK(reason_of_answer(200, R"(["hold"])").empty());
  CHECK(reason_of_answer(200, R"({"hold": true})") == "backfill.throttle.url says to hold");
  CHECK(reason_of_answer(200, R"({"hold": true, "why": "the shop is busy"})") ==
        "backfill.throttle.url says to hold: the shop is busy");
  CHECK(reason_of_answer(200, R"({"hold": "sure", "why": 1})") ==
        "backfill.throttle.url says to hold");
  CHECK(reason_of_answer(429, "later\x1b[31m\nmuch") ==
        "backfill.throttle.url says 429: later?[31m");
  CHECK(reason_of_answer(302, "") == "backfill.throttle.url says 302");
  CHECK(reason_of_answer(500, std::string(5000, 'x')).size() < 300);
}

TEST_CASE("HttpCheck: a server that is silent holds, and nobody waits for it") {
  const SilentServer server;
  const auto began = std::chrono::steady_clock::now();
  {
    HttpCheck check({server.url(), Millis(10), Millis(60'000)});
    CHECK(check.reason() == "backfill.throttle.url has not answered yet");
    std::this_thread::sleep_for(Millis(50));
    CHECK(check.reason() == "backfill.throttle.url has not answered yet");
  }
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(30));
  HttpCheck check({server.url(), Millis(10), Millis(50)});
  CHECK(reason_within(check, "does not answer") == "backfill.throttle.url does not answer (Read)");
}

TEST_CASE("HttpCheck: nobody there") {
  std::string url;
  {
    const SilentServer server;
    url = server.url();
  }
  HttpCheck check({url, Millis(10), Millis(5000)});
  CHECK(reason_within(check, "does not answer") ==
        "backfill.throttle.url does not answer (Connection)");
}

}  // namespace millrace::cli
