#include "relay/base/thread_name.h"

#include <pthread.h>

namespace millrace {

// A name that does not fit is refused by the kernel; it is for people only, so nothing follows.
void name_this_thread(const char* name) { (void)pthread_setname_np(pthread_self(), name); }

}  // namespace millrace
