// What the files of Connection share. Private to this folder.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "connectors/postgres/connection.h"

namespace millrace::postgres {

inline std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

// Sends cancel requests beside the session. A request may hang as long as the server does, so each
// has a thread of its own that nobody waits for, and no second one begins meanwhile. Any thread.
struct Connection::Canceller {
  static std::shared_ptr<Canceller> make(pg_conn* conn);
  static void request(const std::shared_ptr<Canceller>& self);

  Canceller() = default;
  ~Canceller();
  Canceller(const Canceller&) = delete;
  Canceller& operator=(const Canceller&) = delete;

  pg_cancel* cancel = nullptr;
  std::atomic<bool> busy{false};
};

}  // namespace millrace::postgres
