// Values: one scalar of the file into one option; what is wrong comes back in words.
#pragma once

#include <string>
#include <string_view>

#include "relay/config/options.h"

namespace millrace::config {

// `value` is interpolated; `shown` is what stands in the file and may be repeated in a message.
// Returns what is wrong, in words that follow the key; empty when the option is set.
std::string set_value(const Option& option, Config& config, const std::string& value,
                      std::string_view shown);

}  // namespace millrace::config
