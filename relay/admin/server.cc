#include "relay/admin/server.h"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include <httplib.h>
#include <sys/socket.h>

#include "relay/admin/guard.h"
#include "relay/admin/metrics.h"
#include "relay/admin/status_json.h"
#include "relay/base/logging.h"
#include "relay/base/thread_name.h"

namespace millrace::admin {
namespace {

using httplib::Request;
using httplib::Response;

constexpr size_t kThreads = 2;
constexpr time_t kRequestSeconds = 2;

bool is_probe(const std::string& path) { return path == "/healthz" || path == "/readyz"; }

std::string bracketed(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

class HttpServer final : public Server {
 public:
  HttpServer(ServerOptions options, StatusSource status)
      : options_(std::move(options)), status_(std::move(status)) {}

  ~HttpServer() override {
    if (!thread_.joinable()) return;
    http_.stop();
    thread_.join();
    std::error_code ignored;
    if (!options_.address_file.empty()) std::filesystem::remove(options_.address_file, ignored);
  }

  Status listen() {
    configure();
    errno = 0;
    const bool any = options_.port == 0;
    const int bound = any ? http_.bind_to_any_port(options_.host)
                          : (http_.bind_to_port(options_.host, options_.port) ? options_.port : -1);
    if (bound <= 0) {
      const std::string why = errno != 0 ? std::strerror(errno) : "the address can not be used";
      return fail(ErrorCode::config,
                  "the admin port can not listen on " + bracketed(options_.host) + ":" +
                      std::to_string(options_.port) + ": " + why,
                  "set admin.listen to a free port, to port 0 for any, or to off");
    }
    port_ = static_cast<uint16_t>(bound);
    TRY(write_address_file());
    thread_ = std::thread([this] {
      name_this_thread("admin");
      http_.listen_after_bind();
    });
    // stop() before the loop runs would be lost, and the destructor would wait for ever.
    while (!http_.is_running()) std::this_thread::yield();
    logging::info("admin port open", {{"host", options_.host}, {"port", static_cast<int>(port_)}});
    return {};
  }

  uint16_t port() const override { return port_; }

 private:
  void configure() {
    http_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    // The library's default sets SO_REUSEPORT, with which a second process would share our port.
    http_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      (void)::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    http_.set_keep_alive_max_count(1);  // two threads: nobody may hold one while idle
    http_.set_read_timeout(kRequestSeconds);
    http_.set_write_timeout(kRequestSeconds);
    http_.set_payload_max_length(4096);
    http_.set_default_headers(
        {{"X-Content-Type-Options", "nosniff"},
         {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
         {"X-Frame-Options", "DENY"},
         {"Referrer-Policy", "no-referrer"},
         {"Cache-Control", "no-store"}});
    http_.set_pre_routing_handler(
        [this](const Request& request, Response& response) { return admit(request, response); });
    http_.set_error_handler([](const Request&, Response& response) {
      if (response.body.empty()) {
        response.set_content(response.status == 404 ? "not found\n" : "refused\n", "text/plain");
      }
    });
    http_.Get("/healthz", [](const Request&, Response& response) {
      response.set_content("alive\n", "text/plain");
    });
    http_.Get("/readyz", [this](const Request& request, Response& response) {
      answer_ready(request, response);
    });
    http_.Get("/metrics", [this](const Request&, Response& response) {
      response.set_content(metrics_text(status_()), "text/plain; version=0.0.4; charset=utf-8");
    });
    http_.Get("/api/v1/status", [this](const Request&, Response& response) {
      response.set_content(status_to_json(status_()) + "\n", "application/json");
    });
  }

  httplib::Server::HandlerResponse admit(const Request& request, Response& response) const {
    using Handled = httplib::Server::HandlerResponse;
    const auto refuse = [&response](int status, const char* why) {
      response.status = status;
      response.set_content(why, "text/plain");
      return Handled::Handled;
    };
    if (request.method != "GET" && request.method != "HEAD") {
      response.set_header("Allow", "GET, HEAD");
      return refuse(405, "GET only\n");
    }
    if (options_.token.empty()) {
      if (!host_header_allowed(request.get_header_value("Host"), options_.host, port_)) {
        return refuse(403, "unknown Host\n");
      }
    } else if (!is_probe(request.path) && !authorized(request)) {
      response.set_header("WWW-Authenticate", "Bearer");
      return refuse(401, "a bearer token is needed (admin.token)\n");
    }
    return Handled::Unhandled;
  }

  bool authorized(const Request& request) const {
    return bearer_matches(request.get_header_value("Authorization"), options_.token);
  }

  void answer_ready(const Request& request, Response& response) const {
    const pipeline::Health health = status_().health;
    const bool ready = health.state != pipeline::HealthState::stopped &&
                       health.state != pipeline::HealthState::blocked;
    response.status = ready ? 200 : 503;
    std::string body = ready ? "ready" : "not ready";
    if (options_.token.empty() || authorized(request)) {
      body += ": " + std::string(pipeline::to_string(health.state));
      if (!health.why.empty()) body += ": " + health.why;
    }
    response.set_content(body + "\n", "text/plain; charset=utf-8");
  }

  Status write_address_file() const {
    if (options_.address_file.empty()) return {};
    std::ofstream out(options_.address_file, std::ios::trunc);
    out << bracketed(options_.host) << ":" << port_ << "\n";
    out.flush();
    if (out) return {};
    if (errno == ENOSPC) {  // waited for by what needs the room more
      logging::warn(
          "the disk of the state folder is full: `millrace status` will not find this "
          "process before its next start",
          {{"file", options_.address_file}});
      return {};
    }
    return fail(ErrorCode::config, "can not write " + options_.address_file,
                "make the folder `state` writable");
  }

  const ServerOptions options_;
  const StatusSource status_;
  httplib::Server http_;
  uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options, StatusSource status) {
  if (options.token.empty() && !is_loopback(options.host)) {
    return fail(ErrorCode::config, "the admin port may leave loopback only with a token",
                "set admin.token, or admin.listen to 127.0.0.1:7070");
  }
  auto server = std::make_unique<HttpServer>(options, std::move(status));
  TRY(server->listen());
  return std::unique_ptr<Server>(std::move(server));
}

Result<pipeline::StatusSnapshot> fetch_status(const std::string& host, uint16_t port,
                                              const std::string& token) {
  // A process that listens everywhere is asked here.
  const std::string peer = host == "0.0.0.0" ? "127.0.0.1" : host == "::" ? "::1" : host;
  httplib::Client client(peer, port);
  client.set_connection_timeout(kRequestSeconds);
  client.set_read_timeout(kRequestSeconds);
  // The library's own Host header lacks the brackets of an IPv6 address.
  httplib::Headers headers{{"Host", bracketed(peer) + ":" + std::to_string(port)}};
  if (!token.empty()) headers.emplace("Authorization", "Bearer " + token);
  const auto response = client.Get("/api/v1/status", headers);
  const std::string where = bracketed(peer) + ":" + std::to_string(port);
  if (!response) {
    return fail(ErrorCode::retryable, "no millrace process answers at " + where + ": " +
                                          httplib::to_string(response.error()) + " failed");
  }
  if (response->status == 401 || response->status == 403) {
    return fail(ErrorCode::refused, "the process at " + where + " does not let us ask it",
                "use the config file that it was started with (admin.token)");
  }
  if (response->status != 200) {
    return fail(ErrorCode::corruption, "what answers at " + where +
                                           " is no millrace process (HTTP status " +
                                           std::to_string(response->status) + ")");
  }
  return status_from_json(response->body);
}

Result<Address> read_address_file(const std::string& path) {
  std::ifstream in(path);
  std::string text;
  if (!in || !std::getline(in, text)) {
    return fail(ErrorCode::retryable, "no millrace process runs with this state folder");
  }
  const size_t colon = text.rfind(':');
  Address out;
  if (colon != std::string::npos) {
    out.host = text.substr(0, colon);
    (void)std::from_chars(text.data() + colon + 1, text.data() + text.size(), out.port);
  }
  if (out.host.starts_with('[') && out.host.ends_with(']')) {
    out.host = out.host.substr(1, out.host.size() - 2);
  }
  if (out.host.empty() || out.port == 0) {
    return fail(ErrorCode::corruption, path + " holds no address", "remove the file");
  }
  return out;
}

}  // namespace millrace::admin
