// live_status: the status of a pipeline, from its process or, when none answers, from source and
// target.
#pragma once

#include "relay/base/result.h"
#include "relay/config/config.h"
#include "relay/pipeline/status.h"

namespace millrace::cli {

// Of the process alone. Errors: refused, or why none answers.
Result<pipeline::StatusSnapshot> process_status(const config::Config& config);

// Errors: refused when the process does not let us ask; otherwise what is missing is said in
// `health`.
Result<pipeline::StatusSnapshot> live_status(const config::Config& config);

}  // namespace millrace::cli
