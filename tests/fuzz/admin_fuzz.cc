// What reaches the admin port as text: headers for the guard, and the JSON that `millrace status`
// reads from whoever answers there.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "relay/admin/guard.h"
#include "relay/admin/status_json.h"

namespace {

using namespace millrace;

void require(bool holds) {
  if (!holds) std::abort();
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

void check_guard(std::string_view first, std::string_view second) {
  require(admin::constant_time_equal(first, second) == (first == second));
  require(admin::bearer_matches(first, second) ==
          (!second.empty() && lower(first.substr(0, 7)) == "bearer " && first.substr(7) == second));
  for (const uint16_t port : {uint16_t{80}, uint16_t{7070}}) {
    if (!admin::host_header_allowed(first, "127.0.0.5", port)) continue;
    // The name and the port, and nothing around them.
    const std::string name = lower(first);
    const std::string end = ":" + std::to_string(port);
    bool known = false;
    for (const char* host : {"localhost", "127.0.0.1", "127.0.0.5", "[::1]"}) {
      known = known || name == host + end || (port == 80 && name == host);
    }
    require(known);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t middle = text.find('\n');
  if (middle != std::string_view::npos) {
    check_guard(text.substr(0, middle), text.substr(middle + 1));
  }
  (void)admin::parse_time(text);
  const auto status = admin::status_from_json(text);
  if (!status) {
    require(status.error().code() == ErrorCode::corruption);
    return 0;
  }
  // What is accepted is stable from then on.
  const std::string once = admin::status_to_json(*status);
  const auto again = admin::status_from_json(once);
  require(again.has_value() && admin::status_to_json(*again) == once);
  return 0;
}
