// verify_text: what `millrace verify` found, as JSON (docs/formats.md, "Report of verify") and as a
// table for people. No values but keys', unless they were asked for. Pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "relay/base/ids.h"
#include "relay/chunk/verify.h"

namespace millrace::cli {

constexpr uint64_t kListMax = 10'000;  // rows that a report may list, and repair takes

struct InvariantReport {
  std::string name;
  bool holds = false;
  uint64_t rows = 0;  // that speak against it
  std::string why;    // it could not be asked
  TimeMicros started_at = {}, ended_at = {};
  // The first of the rows, of their first columns, each value's beginning; nullopt: NULL.
  using Example = std::vector<std::pair<std::string, std::optional<std::string>>>;
  std::vector<Example> examples = {};
};

struct VerifyHead {
  std::string pipeline;
  std::string config_hash;
  std::map<std::string, std::string> mapping_hashes;  // by table
  std::string kind;                                   // rows | keys | drift | invariants
  std::string scope;                                  // of the tables; empty: all of them
  std::string who;
  double sample = 1;
  uint64_t seed = 0;
  uint32_t timeline = 0;
  TimeMicros started_at, ended_at;
};

enum class VerifyOutcome : uint8_t { equal, different, undecided };
VerifyOutcome outcome(const chunk::VerifyReport& report,
                      const std::vector<InvariantReport>& invariants);

std::string verify_json(const VerifyHead& head, const chunk::VerifyReport& report,
                        const std::vector<InvariantReport>& invariants);
std::string verify_text(const VerifyHead& head, const chunk::VerifyReport& report,
                        const std::vector<InvariantReport>& invariants);
// One sentence, for the last line on stderr: what differs, or could not be decided.
std::string verify_summary(const chunk::VerifyReport& report,
                           const std::vector<InvariantReport>& invariants);

// 64 bits of FNV-1a, in hex.
std::string text_hash(std::string_view text);

}  // namespace millrace::cli
