#include "relay/cli/signals.h"

#include <utility>

#include <unistd.h>

#include "relay/base/logging.h"
#include "relay/base/thread_name.h"

namespace millrace::cli {

Signals::Signals(bool announce, std::function<void()> on_hangup)
    : announce_(announce), on_hangup_(std::move(on_hangup)) {
  sigemptyset(&set_);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&set_, number);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  signal(SIGPIPE, SIG_IGN);
  thread_ = std::jthread([this] { wait_for_signals(); });
}

Signals::~Signals() {
  // Wakes the thread: it ends on SIGUSR1 alone.
  pthread_kill(thread_.native_handle(), SIGUSR1);
}

void Signals::wait_for_signals() {
  name_this_thread("signals");
  while (true) {
    int number = 0;
    if (sigwait(&set_, &number) != 0) continue;
    if (number == SIGUSR1) return;
    if (number == SIGHUP) {
      if (on_hangup_) on_hangup_();
      continue;
    }
    if (stop_.stop_requested()) _exit(1);
    if (announce_)
      logging::info("stopping", {{"signal", number == SIGTERM ? "SIGTERM" : "SIGINT"}});
    stop_.request_stop();
  }
}

}  // namespace millrace::cli
