// Options: the one table of every option: its key, default, bounds and documentation.
//
// The reader, the generated documentation and the dump of what is in effect all walk this table;
// nothing else in the code knows a default or a bound.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "relay/config/config.h"

namespace millrace::config {

// Returns what is wrong with a value, or nothing.
using TextRule = std::string (*)(std::string_view value);

struct TextOption {
  std::string& (*at)(Config&);
  TextRule rule = nullptr;
  std::string_view form;  // for the documentation: "[a-z0-9_]{1,40}"
};
struct SecretOption {
  Secret& (*at)(Config&);
  bool connection_string = false;
  uint64_t least_bytes = 1;
};
struct SizeOption {
  uint64_t& (*at)(Config&);
  uint64_t least = 0;
  uint64_t most = 0;
};
struct CountOption {
  int64_t (*get)(const Config&);
  void (*set)(Config&, int64_t);
  int64_t least = 0;
  int64_t most = 0;
};
struct TimeOption {
  Millis& (*at)(Config&);
  Millis least{};
  Millis most{};
};
struct SwitchOption {
  bool& (*at)(Config&);
};
struct ChoiceOption {
  std::span<const std::string_view> names;  // in the order of the enum
  size_t (*get)(const Config&);
  void (*set)(Config&, size_t);
};
// Read by code of its own: tables, log.kafka, admin.listen.
struct SpecialOption {
  std::string_view form;
};

using OptionKind = std::variant<TextOption, SecretOption, SizeOption, CountOption, TimeOption,
                                SwitchOption, ChoiceOption, SpecialOption>;

struct Option {
  std::string_view key;       // "log.max_record"
  std::string_view fallback;  // as a file would say it; empty: none
  bool required = false;
  OptionKind kind;
  std::string_view doc;
  // Values that the interface promises and this version refuses: choices, "on", or ">1".
  std::span<const std::string_view> not_built = {};
  // Documentation of a default that depends on another option.
  std::string_view fallback_doc = {};
};

std::span<const Option> options();

// Keys of an entry of `tables`, for the reader's key check and the documentation.
struct EntryKey {
  std::string_view key;
  std::string_view form;
  std::string_view doc;
};
std::span<const EntryKey> table_entry_keys();
// Likewise of an entry of `verify.schedule`.
std::span<const EntryKey> schedule_entry_keys();

// Keys that the interface promises and this version refuses by name.
std::span<const std::string_view> keys_not_built();

// The value of an option as a file would say it; secrets as "***".
std::string show(const Option& option, const Config& config);

}  // namespace millrace::config
