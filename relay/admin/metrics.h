// A StatusSnapshot as Prometheus text (exposition format 0.0.4).
#pragma once

#include <string>

#include "relay/pipeline/status.h"

namespace millrace::admin {

// Names begin with millrace_ and every series has the label `pipeline`; what is unknown is left
// out.
std::string metrics_text(const pipeline::StatusSnapshot& status);

}  // namespace millrace::admin
