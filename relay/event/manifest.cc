#include "relay/event/manifest.h"

#include <fmt/format.h>

namespace millrace {

std::string describe(const Manifest& manifest) {
  return fmt::format("{}..{}, {} rows of {} transactions", to_string(manifest.previous),
                     to_string(manifest.last), manifest.rows, manifest.transactions);
}

}  // namespace millrace
