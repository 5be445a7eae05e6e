#include "relay/base/disk.h"

#include <filesystem>
#include <system_error>

namespace millrace {

Status require_room(const std::string& folder, uint64_t bytes) {
  std::error_code failure;
  const auto space = std::filesystem::space(folder, failure);
  if (failure || space.available >= bytes) return {};
  constexpr uint64_t kMb = 1U << 20;
  return fail(ErrorCode::retryable,
              "No space left for " + folder + ": " + std::to_string(space.available / kMb) +
                  " MB are free on its disk, " + std::to_string(bytes / kMb) + " MB are kept free",
              "free space on the folder's disk");
}

}  // namespace millrace
