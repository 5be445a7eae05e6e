// Options: how to reach one source and which slot and publication to read.
#pragma once

#include <stop_token>
#include <string>

#include "relay/base/clock.h"

namespace millrace::source {

inline constexpr int kOldestStreamingVersion = 140000;

struct Options {
  // A libpq connection string, key=value or URI. Holds a password: never logged, never in an Error.
  std::string dsn;
  std::string slot;
  std::string publication;
  std::string application_name = "millrace";  // unless the DSN says another
  // Open transactions are sent before they commit. Postgres 14 and later.
  bool streaming = false;
  // Status updates go to the server this often, and never less often than three times in its
  // wal_sender_timeout.
  Millis status_interval{2000};
  Millis connect_timeout{10'000};
  // A server that says nothing for this long, though asked, is taken for dead.
  Millis receive_timeout{60'000};
  // Ends what waits for the server with `cancelled`: connecting, a query, a command. The stream
  // itself is ended by whoever reads it.
  std::stop_token stop;
};

// `wal_sender_timeout` 0: the server has none. At least 10 ms.
Millis feedback_interval(Millis status_interval, Millis wal_sender_timeout);

}  // namespace millrace::source
