// name_this_thread: what top -H, a debugger and /proc/PID/task/*/comm call the calling thread.
//
// A new thread bears its creator's name until it takes its own, so each of ours takes one first.
// The kernel keeps 15 bytes. Any thread, for itself.
#pragma once

namespace millrace {

void name_this_thread(const char* name);

}  // namespace millrace
