// Control records as bytes: millrace.v1.ControlRecord (proto/millrace.proto).
//
// Thread-safe: no state. Source: docs/formats.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "relay/base/result.h"
#include "relay/event/manifest.h"

namespace millrace::wire {

inline constexpr uint32_t kControlFormat = 1;

// REQUIRES: a SchemaRecord has its schema.
std::string encode_control(const ControlRecord& record);

// Errors: refused for a format or a kind of record of a newer version; corruption, also for a
// schema whose fingerprint is not that of its fields and for ranges that can not be.
Result<ControlRecord> decode_control(std::string_view bytes);

}  // namespace millrace::wire
