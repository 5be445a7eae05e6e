// Findings: what `check` has to say, as lines for people or JSON for scripts.
#pragma once

#include <string>
#include <vector>

#include "relay/base/error.h"

namespace millrace::cli {

struct CheckFinding {
  bool blocker = false;
  std::string where;  // config | source | log | target
  std::string what;
  std::string fix;  // may be empty
};

CheckFinding make_finding(bool blocker, const std::string& where, const Error& error);

size_t count_blockers(const std::vector<CheckFinding>& findings);

// "blocker: source: what; fix" a line, blockers first, then a line that counts them.
std::string findings_text(const std::vector<CheckFinding>& findings);
// {"ok", "blockers", "findings": [{"kind", "where", "what", "fix"}]}
std::string findings_json(const std::vector<CheckFinding>& findings);

}  // namespace millrace::cli
