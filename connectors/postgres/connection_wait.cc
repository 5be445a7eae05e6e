// The part of Connection that waits for answers.
//
// TCP tells of a peer that is gone. It does not tell of a proxy or a load balancer that lost its
// other side and keeps ours open, nor of bytes that vanish in one direction only. So a long silence
// is looked into over a second connection: a session that the server says is not at work has
// answered already, or was never asked, and is given up. One that works (a long statement, a lock,
// a synchronous standby) is waited for without end.
#include <algorithm>
#include <array>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#include "connectors/postgres/connection_parts.h"
#include "relay/base/logging.h"
#include "relay/base/thread_name.h"

namespace millrace::postgres {
namespace {

constexpr Millis kSlice{200};
constexpr Millis kInterruptGrace{500};  // for the answer to a cancel request
constexpr Millis kAskTimeout{3000};
constexpr int kLooks = 2;  // an answer may be on its way during the first one

Millis since(SteadyTime then) {
  return std::chrono::duration_cast<Millis>(std::chrono::steady_clock::now() - then);
}

struct Finish {
  void operator()(PGconn* conn) const { PQfinish(conn); }
};
struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};

}  // namespace

std::shared_ptr<Connection::Canceller> Connection::Canceller::make(pg_conn* conn) {
  auto made = std::make_shared<Canceller>();
  made->cancel = PQgetCancel(conn);
  return made;
}

Connection::Canceller::~Canceller() { PQfreeCancel(cancel); }

void Connection::Canceller::request(const std::shared_ptr<Canceller>& self) {
  if (self->busy.exchange(true)) return;
  std::thread([self] {
    name_this_thread("canceller");
    std::array<char, 256> error{};
    PQcancel(self->cancel, error.data(), static_cast<int>(error.size()));
    self->busy = false;
  }).detach();
}

void Connection::interrupt() {
  interrupted_ = true;
  Canceller::request(canceller_);
}

void Connection::await(bool sent) {
  SteadyTime heard = std::chrono::steady_clock::now();
  SteadyTime looked = heard;
  std::optional<SteadyTime> interrupted;
  looked_lost_ = 0;
  while (alive()) {
    const int unsent = PQflush(conn_.get());
    if (unsent < 0 || (sent ? unsent == 0 : PQisBusy(conn_.get()) == 0)) return;
    const int events = unsent > 0 ? POLLIN | POLLOUT : POLLIN;
    pollfd socket{PQsocket(conn_.get()), static_cast<short>(events), 0};
    if (poll(&socket, 1, static_cast<int>(kSlice.count())) > 0) {
      if (socket.revents != POLLOUT && PQconsumeInput(conn_.get()) == 0) return;
      heard = looked = std::chrono::steady_clock::now();
      looked_lost_ = 0;
      continue;
    }
    if (options_.stop.stop_requested() && !interrupted_) interrupt();
    if (interrupted_ && !interrupted) interrupted = std::chrono::steady_clock::now();
    if (interrupted && since(*interrupted) > kInterruptGrace) {
      return give_up("the target did not answer when it was told to stop");
    }
    const Millis pause = looked_lost_ > 0 ? Millis(1000) : options_.network_timeout / 2;
    if (since(looked) < pause) continue;
    if (is_lost(since(heard))) {
      return give_up(
          fmt::format("the target was silent for {} ms, and its session {} is gone or not at work",
                      since(heard).count(), backend_pid_));
    }
    looked = std::chrono::steady_clock::now();
  }
}

bool Connection::is_lost(Millis silence) {
  if (backend_pid_ == 0) return silence >= options_.network_timeout;  // it has not begun yet
  switch (ask_backend()) {
    case Busy::yes:
      looked_lost_ = 0;
      return false;
    case Busy::no:
      return ++looked_lost_ >= kLooks;
    case Busy::unreachable:
      return silence >= options_.network_timeout;
  }
  return false;
}

Connection::Busy Connection::ask_backend() const {
  const std::array<const char*, 5> keys = {"fallback_application_name", "dbname", "connect_timeout",
                                           "tcp_user_timeout", nullptr};
  const std::array<const char*, 5> values = {options_.application_name.c_str(),
                                             options_.dsn.c_str(), "3", "3000", nullptr};
  const SteadyTime began = std::chrono::steady_clock::now();
  const std::unique_ptr<PGconn, Finish> asking(PQconnectdbParams(keys.data(), values.data(), 1));
  if (PQstatus(asking.get()) != CONNECTION_OK) {
    if (since(began) >= kAskTimeout / 2) return Busy::unreachable;
    // A server that is full or does not let us in is one that answers: the session counts.
    const bool answers = PQpingParams(keys.data(), values.data(), 1) != PQPING_NO_RESPONSE;
    return answers ? Busy::yes : Busy::unreachable;
  }
  const std::string pid = std::to_string(backend_pid_);
  const std::array<const char*, 2> params = {
      pid.c_str(), backend_start_.empty() ? nullptr : backend_start_.c_str()};
  PQsendQueryParams(asking.get(),
                    "SELECT coalesce(state, 'disabled') FROM pg_catalog.pg_stat_activity "
                    "WHERE pid = $1::int AND (backend_start = $2::timestamptz) IS NOT FALSE",
                    2, nullptr, params.data(), nullptr, nullptr, 0);
  const SteadyTime asked = std::chrono::steady_clock::now();
  while (PQisBusy(asking.get()) != 0) {
    if (since(asked) > kAskTimeout) return Busy::unreachable;
    pollfd socket{PQsocket(asking.get()), POLLIN, 0};
    poll(&socket, 1, static_cast<int>(kSlice.count()));
    if (PQconsumeInput(asking.get()) == 0) return Busy::unreachable;
  }
  const std::unique_ptr<PGresult, Clear> result(PQgetResult(asking.get()));
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) return Busy::unreachable;
  if (PQntuples(result.get()) == 0) return Busy::no;
  const std::string_view state = PQgetvalue(result.get(), 0, 0);
  return state.starts_with("idle") ? Busy::no : Busy::yes;
}

// libpq takes note of it as of any connection that was cut.
void Connection::give_up(std::string why) {
  logging::warn("the target's connection is given up", {{"why", why}});
  given_up_ = std::move(why);
  shutdown(PQsocket(conn_.get()), SHUT_RDWR);
}

}  // namespace millrace::postgres
