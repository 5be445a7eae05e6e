// Any bytes as a control record: no crash, and what is accepted is stable from then on.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "relay/wire/control_codec.h"
#include "relay/wire/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  const auto record = wire::decode_control({reinterpret_cast<const char*>(data), size});
  if (!record) return 0;
  const std::string once = wire::encode_control(*record);
  const auto again = wire::decode_control(once);
  if (!again || wire::encode_control(*again) != once) std::abort();
  const std::string json = wire::control_to_json(*record, 0);
  if (!std::all_of(json.begin(), json.end(), [](char c) { return c >= ' ' && c < '\x7F'; })) {
    std::abort();
  }
  return 0;
}
