#include "relay/wire/row_values.h"

#include <cstring>
#include <new>

#include <fmt/format.h>

namespace millrace::wire {
namespace {

tl::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::corruption, "row record: " + std::move(what));
}

}  // namespace

Status RowValues::set_kinds(std::string_view kinds, const TableSchema& table,
                            std::pmr::memory_resource& arena) {
  if (seen_) return corrupt(fmt::format("{} kinds twice", name_));
  if (kinds.size() != table.columns.size()) {
    return corrupt(fmt::format("{} has {} columns where {} has {}", name_, kinds.size(),
                               display_name(table), table.columns.size()));
  }
  seen_ = true;
  auto* values = static_cast<Value*>(arena.allocate(sizeof(Value) * kinds.size(), alignof(Value)));
  values_ = {values, kinds.size()};
  for (size_t i = 0; i < kinds.size(); ++i) {
    const auto kind = static_cast<ValueKind>(kinds[i]);
    if (kind != ValueKind::text && kind != ValueKind::null && kind != ValueKind::unchanged) {
      return corrupt(fmt::format("{} column {} has kind {:#04x}", name_, i + 1,
                                 static_cast<uint8_t>(kinds[i])));
    }
    new (values + i) Value{kind, {}};
  }
  skip_to_text();
  return {};
}

Status RowValues::add(std::string_view text) {
  if (next_ >= values_.size()) return corrupt(fmt::format("{} has too many values", name_));
  // An empty text points at no record, which may be gone before it.
  values_[next_].text = text.empty() ? std::string_view("") : text;
  bytes_ += text.size();
  ++next_;
  skip_to_text();
  return {};
}

Status RowValues::finish() const {
  if (next_ == values_.size()) return {};
  return corrupt(fmt::format("{} has no value for column {}", name_, next_ + 1));
}

Row RowValues::own(std::pmr::memory_resource& arena) {
  if (bytes_ == 0) return values_;
  auto* at = static_cast<char*>(arena.allocate(bytes_, 1));
  for (Value& value : values_) {
    if (value.text.empty()) continue;
    std::memcpy(at, value.text.data(), value.text.size());
    value.text = {at, value.text.size()};
    at += value.text.size();
  }
  return values_;
}

}  // namespace millrace::wire
