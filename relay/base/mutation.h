// Mutation: a safety rule that a test build can switch off, to show that the tests would notice.
//
// Compiled to `false` unless MILLRACE_MUTATIONS is defined (the dev and sanitizer presets; never
// release). Chosen by the environment: MILLRACE_MUTATE=no_guard,no_manifest_check.
#pragma once

#include <string_view>

namespace millrace {

#ifdef MILLRACE_MUTATIONS
bool mutated(std::string_view rule);
// Instead of the environment's; for tests of one thread.
void set_mutations(std::string_view rules);
#else
constexpr bool mutated(std::string_view) { return false; }
#endif

}  // namespace millrace
