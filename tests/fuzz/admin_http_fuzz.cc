// Any bytes sent to the admin port over a real connection: an HTTP answer or none, never the status
// without the token, and the server goes on answering.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/admin/server.h"

namespace {

using namespace millrace;

constexpr std::string_view kToken = "0123456789abcdef";
constexpr std::string_view kSecret = "hunter2-hunter2";

void require(bool holds) {
  if (!holds) std::abort();
}

const admin::Server& server() {
  static const auto started = [] {
    admin::ServerOptions options;
    options.port = 0;
    options.token = kToken;
    auto made = admin::Server::start(options, [] {
      pipeline::StatusSnapshot status;
      status.pipeline = kSecret;
      status.health = {pipeline::HealthState::stopped, std::string(kSecret)};
      return status;
    });
    require(made.has_value());
    return std::move(*made);
  }();
  return *started;
}

// Sends `request` and reads all that comes; an unfinished one is ended after `patience_ms`. (The
// library answers nobody who has ended his side.)
std::string exchange(std::string_view request, int patience_ms) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server().port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  require(fd >= 0 && ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  // A reset at once, so that ports do not run out.
  const linger at_once{1, 0};
  (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  (void)::send(fd, request.data(), request.size(), MSG_NOSIGNAL);
  pollfd readable{fd, POLLIN, 0};
  if (::poll(&readable, 1, patience_ms) == 0) (void)::shutdown(fd, SHUT_WR);
  std::string answer;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0;) {
    answer.append(buffer.data(), static_cast<size_t>(n));
  }
  ::close(fd);
  return answer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view request(reinterpret_cast<const char*>(data), size);
  const std::string answer = exchange(request, 10);
  require(answer.empty() || answer.starts_with("HTTP/1.1 "));
  if (request.find(kToken) == std::string_view::npos) {
    require(answer.find(kSecret) == std::string::npos);
  }
  static int count = 0;
  if (++count % 64 == 0) {
    constexpr std::string_view kProbe = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    require(exchange(kProbe, 10'000).starts_with("HTTP/1.1 200 "));
  }
  return 0;
}
