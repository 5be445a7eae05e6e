#include "relay/log/kafka/steady_wait.h"

#include <cerrno>
#include <ctime>

#include <pthread.h>
#include <threads.h>

namespace {

constexpr long kNanosInSecond = 1'000'000'000;
constexpr long kNanosInMilli = 1'000'000;
constexpr long kLongWait = 20 * kNanosInMilli;

// librdkafka cuts the time to its next timer down to whole milliseconds, and spins through the
// rest: each of its clients a millisecond of CPU a second, at rest. A long wait lasts a millisecond
// more.
long slack(const timespec& left) {
  return left.tv_sec > 0 || left.tv_nsec >= kLongWait ? kNanosInMilli : 0;
}

timespec in_order(time_t seconds, long nanos) {
  if (nanos < 0) return {seconds - 1, nanos + kNanosInSecond};
  return {seconds + nanos / kNanosInSecond, nanos % kNanosInSecond};
}

}  // namespace

// glibc's cnd_t and mtx_t are its pthread types under another name: its own definition makes the
// same casts.
static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t) && sizeof(mtx_t) == sizeof(pthread_mutex_t));

extern "C" int cnd_timedwait(cnd_t* condition, mtx_t* mutex, const timespec* until) {
  timespec wall{};
  timespec steady{};
  timespec_get(&wall, TIME_UTC);  // what librdkafka made `until` from
  clock_gettime(CLOCK_MONOTONIC, &steady);
  const timespec left = in_order(until->tv_sec - wall.tv_sec, until->tv_nsec - wall.tv_nsec);
  timespec deadline = steady;
  if (left.tv_sec >= 0) {
    deadline = in_order(steady.tv_sec + left.tv_sec, steady.tv_nsec + left.tv_nsec + slack(left));
  }
  const int result =
      pthread_cond_clockwait(reinterpret_cast<pthread_cond_t*>(condition),
                             reinterpret_cast<pthread_mutex_t*>(mutex), CLOCK_MONOTONIC, &deadline);
  if (result == ETIMEDOUT) return thrd_timedout;
  return result == 0 ? thrd_success : thrd_error;
}

namespace millrace::log::kafka {

void wait_steadily() {}

}  // namespace millrace::log::kafka
