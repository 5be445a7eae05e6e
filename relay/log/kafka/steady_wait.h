// Steady waits: librdkafka's timed waits go by the steady clock instead of the wall clock.
//
// librdkafka waits by C11's cnd_timedwait, whose deadline is a wall clock time: when that clock is
// set back by an hour, a wait of milliseconds lasts an hour (librdkafka issue 2145). steady_wait.cc
// defines the function anew for the whole process, so that the time that is left when a wait begins
// is what is waited, and a millisecond more where that is long: librdkafka spins through the last
// one before a timer is due. Any thread.
#pragma once

namespace millrace::log::kafka {

// Does nothing; whoever calls it has the definition linked in.
void wait_steadily();

}  // namespace millrace::log::kafka
