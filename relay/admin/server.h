// Server: the admin port. GET only, and nothing here changes anything.
//
//   /healthz        200 while the process lives
//   /readyz         200, or 503 when the pipeline is stopped or blocked; the body says why
//   /metrics        Prometheus text
//   /api/v1/status  the status as JSON
//
// With a token every request needs "Authorization: Bearer …", but for /healthz and /readyz, which
// then keep the reason to themselves. Without one, only names of this machine are taken as Host.
// Own threads (one that accepts, two that answer); `status` is called from these.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "relay/base/result.h"
#include "relay/pipeline/status.h"

namespace millrace::admin {

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 7070;      // 0: any free one
  std::string token;         // empty: none; then `host` must be loopback
  std::string address_file;  // gets "host:port" while the server runs; empty: none
};

class Server {
 public:
  using StatusSource = std::function<pipeline::StatusSnapshot()>;

  // Listens when it returns. Errors: config (an address in use, not loopback without a token).
  static Result<std::unique_ptr<Server>> start(const ServerOptions& options, StatusSource status);
  virtual ~Server() = default;  // stops, and waits for requests that run

  virtual uint16_t port() const = 0;
};

// GET /api/v1/status of a running process. Errors: retryable when nobody answers there within two
// seconds; refused for a wrong token; corruption.
Result<pipeline::StatusSnapshot> fetch_status(const std::string& host, uint16_t port,
                                              const std::string& token);

// Reads what a Server wrote to its address file. Errors: retryable when there is none.
struct Address {
  std::string host;
  uint16_t port = 0;
};
Result<Address> read_address_file(const std::string& path);

}  // namespace millrace::admin
