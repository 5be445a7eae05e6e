#include "relay/admin/server.h"

#include <filesystem>

#include <doctest/doctest.h>
#include <httplib.h>
#include <unistd.h>

#include "relay/admin/status_json.h"
#include "tests/unit/admin/sample_status.h"

using namespace millrace;
using namespace millrace::admin;

namespace {

constexpr const char* kToken = "0123456789abcdef";

std::unique_ptr<Server> serve(const std::string& token = "", pipeline::Health health = {}) {
  ServerOptions options;
  options.port = 0;
  options.token = token;
  auto server = Server::start(options, [health] {
    auto status = pipeline::sample_status();
    status.health = health;
    return status;
  });
  REQUIRE_MESSAGE(server.has_value(), (server ? "" : server.error().describe()));
  return std::move(*server);
}

httplib::Result get(const Server& server, const std::string& path, httplib::Headers headers = {}) {
  httplib::Client client("127.0.0.1", server.port());
  return client.Get(path, headers);
}

}  // namespace

TEST_CASE("Server: every page, with strict headers") {
  const auto server = serve();
  CHECK(server->port() != 0);
  for (const char* path : {"/healthz", "/readyz", "/metrics", "/api/v1/status"}) {
    const auto response = get(*server, path);
    REQUIRE_MESSAGE(response, path);
    CHECK(response->status == 200);
    CHECK(response->get_header_value("X-Content-Type-Options") == "nosniff");
    CHECK(response->get_header_value("Content-Security-Policy").starts_with("default-src 'none'"));
  }
  CHECK(get(*server, "/metrics")->body.find("millrace_rows_total{") != std::string::npos);
  CHECK(get(*server, "/nothing")->status == 404);
  CHECK(get(*server, "/" + std::string(10000, 'a'))->status == 414);
}

TEST_CASE("Server: readyz says 503 and why") {
  using pipeline::HealthState;
  CHECK(get(*serve("", {HealthState::catching_up, "5 s behind"}), "/readyz")->status == 200);
  const auto stopped = get(*serve("", {HealthState::stopped, "table public.a"}), "/readyz");
  CHECK(stopped->status == 503);
  CHECK(stopped->body == "not ready: stopped: table public.a\n");
  CHECK(get(*serve("", {HealthState::blocked, "x"}), "/readyz")->status == 503);
  CHECK(get(*serve("", {HealthState::stopped, "x"}), "/healthz")->status == 200);
}

TEST_CASE("Server: a Host of another name is refused") {
  const auto server = serve();
  CHECK(get(*server, "/api/v1/status", {{"Host", "evil.example"}})->status == 403);
  CHECK(get(*server, "/api/v1/status", {{"Host", "localhost:" + std::to_string(server->port())}})
            ->status == 200);
}

TEST_CASE("Server: a token is asked for, but by the probes") {
  const auto server = serve(kToken, {pipeline::HealthState::stopped, "table public.a"});
  CHECK(get(*server, "/api/v1/status")->status == 401);
  CHECK(get(*server, "/metrics", {{"Authorization", "Bearer 0123456789abcdeF"}})->status == 401);
  CHECK(get(*server, "/metrics", {{"Authorization", std::string("Bearer ") + kToken}})->status ==
        200);
  CHECK(get(*server, "/nothing")->status == 401);
  CHECK(get(*server, "/healthz")->status == 200);
  CHECK(get(*server, "/readyz")->body == "not ready\n");
}

TEST_CASE("Server: GET only, small requests only") {
  const auto server = serve();
  httplib::Client client("127.0.0.1", server->port());
  CHECK(client.Post("/api/v1/status", "x", "text/plain")->status == 405);
  CHECK(client.Delete("/api/v1/status")->status == 405);
  // Refused unread: the connection may be closed before all of it was sent.
  const auto large = client.Post("/api/v1/status", std::string(1 << 20, 'x'), "text/plain");
  CHECK((!large || large->status == 413 || large->status == 405));
  CHECK(get(*server, "/healthz")->status == 200);
}

TEST_CASE("Server: refuses an address in use, and leaving loopback without a token") {
  const auto server = serve();
  ServerOptions taken;
  taken.port = server->port();
  const auto second = Server::start(taken, [] { return pipeline::StatusSnapshot(); });
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code() == ErrorCode::config);
  CHECK(second.error().message().find("Address already in use") != std::string::npos);

  ServerOptions open;
  open.host = "0.0.0.0";
  open.port = 0;
  const auto refused = Server::start(open, [] { return pipeline::StatusSnapshot(); });
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code() == ErrorCode::config);
}

TEST_CASE("fetch_status: reads back what the server serves") {
  const auto server = serve(kToken);
  const auto status = fetch_status("127.0.0.1", server->port(), kToken);
  REQUIRE_MESSAGE(status.has_value(), (status ? "" : status.error().describe()));
  auto expected = pipeline::sample_status();
  expected.health = {};
  CHECK(*status == expected);

  const auto wrong = fetch_status("127.0.0.1", server->port(), "another token!!!");
  REQUIRE_FALSE(wrong.has_value());
  CHECK(wrong.error().code() == ErrorCode::refused);
}

TEST_CASE("fetch_status: nobody there is retryable") {
  uint16_t port = 0;
  {
    const auto server = serve();
    port = server->port();
  }
  const auto status = fetch_status("127.0.0.1", port, "");
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().code() == ErrorCode::retryable);
}

TEST_CASE("Server: the address file lives as long as the server") {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("admin_address_" + std::to_string(::getpid())))
          .string();
  ServerOptions options;
  options.port = 0;
  options.address_file = path;
  {
    const auto server = Server::start(options, [] { return pipeline::StatusSnapshot(); });
    REQUIRE(server.has_value());
    const auto address = read_address_file(path);
    REQUIRE(address.has_value());
    CHECK(address->host == "127.0.0.1");
    CHECK(address->port == (*server)->port());
  }
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK(read_address_file(path).error().code() == ErrorCode::retryable);
}
