#include "relay/cli/give_way.h"

#include "relay/base/backoff.h"
#include "relay/base/thread_name.h"

namespace millrace::cli {
namespace {

constexpr Millis kLookEvery{500};
constexpr int kLooks = 2;  // in a row: who waits for a moment is not in trouble

}  // namespace

GiveWay::GiveWay(postgres::VerifySession& session)
    : session_(session), thread_([this](std::stop_token stop) { run(std::move(stop)); }) {}

bool GiveWay::end() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
  return interrupted_;
}

void GiveWay::run(std::stop_token stop) {
  name_this_thread("give way");
  int seen = 0;
  while (sleep_for(stop, kLookEvery)) {
    const auto waiting = session_.is_in_the_way();
    seen = waiting && *waiting ? seen + 1 : 0;
    if (seen < kLooks) continue;
    interrupted_ = true;
    session_.interrupt();
    return;
  }
}

}  // namespace millrace::cli
