#include "relay/chunk/pacing.h"

#include <algorithm>

namespace millrace::chunk {
namespace {

constexpr uint64_t kFirstRows = 1000;
constexpr double kLeastRows = 100;  // but for wide ones
constexpr double kMostRows = 500'000;
constexpr double kWeight = 0.5;  // of the newest chunk

void blend(double& known, double measured) {
  known = known == 0 ? measured : known + kWeight * (measured - known);
}

}  // namespace

Pacing::Pacing(Millis chunk_time, uint64_t chunk_bytes)
    : chunk_seconds_(std::chrono::duration<double>(chunk_time).count()),
      chunk_bytes_(static_cast<double>(chunk_bytes)) {}

uint64_t Pacing::next_rows() const {
  const std::lock_guard lock(mutex_);
  if (last_rows_ == 0) return kFirstRows;
  double rows = std::min(kMostRows, 2.0 * static_cast<double>(last_rows_));
  if (const double cost = read_a_row_ + write_a_row_; cost > 0) {
    // What a chunk costs whatever it holds counts as its rows': on a machine that is overloaded
    // fewer rows would look the slower the fewer they are, down to one.
    rows = std::min(rows, std::max(kLeastRows, chunk_seconds_ / cost));
  }
  if (bytes_a_row_ > 0) rows = std::min(rows, chunk_bytes_ / bytes_a_row_);
  return std::max<uint64_t>(1, static_cast<uint64_t>(rows));
}

void Pacing::read(uint64_t rows, uint64_t bytes, double seconds) {
  if (rows == 0) return;
  const std::lock_guard lock(mutex_);
  last_rows_ = rows;
  blend(bytes_a_row_, static_cast<double>(bytes) / static_cast<double>(rows));
  blend(read_a_row_, seconds / static_cast<double>(rows));
}

void Pacing::wrote(uint64_t rows, double seconds) {
  if (rows == 0) return;
  const std::lock_guard lock(mutex_);
  blend(write_a_row_, seconds / static_cast<double>(rows));
}

}  // namespace millrace::chunk
