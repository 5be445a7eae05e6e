#include "relay/cli/findings.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace millrace::cli {
namespace {

// Messages of a server may hold line breaks; a finding is one line.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

}  // namespace

CheckFinding make_finding(bool blocker, const std::string& where, const Error& error) {
  // describe() would repeat the hint behind the context.
  Error bare = Error(error).with_hint("");
  return {blocker, where, bare.describe(), error.hint()};
}

size_t count_blockers(const std::vector<CheckFinding>& findings) {
  return static_cast<size_t>(std::count_if(findings.begin(), findings.end(),
                                           [](const CheckFinding& f) { return f.blocker; }));
}

std::string findings_text(const std::vector<CheckFinding>& findings) {
  std::string out;
  for (const bool blockers : {true, false}) {
    for (const CheckFinding& finding : findings) {
      if (finding.blocker != blockers) continue;
      std::string line = (blockers ? "blocker: " : "note: ") + finding.where + ": " + finding.what;
      if (!finding.fix.empty()) line += "; " + finding.fix;
      out += one_line(std::move(line)) + "\n";
    }
  }
  const size_t blockers = count_blockers(findings);
  if (blockers == 0) return out + "ok: nothing stands in the way\n";
  return out + std::to_string(blockers) + (blockers == 1 ? " blocker\n" : " blockers\n");
}

std::string findings_json(const std::vector<CheckFinding>& findings) {
  nlohmann::ordered_json out;
  out["ok"] = count_blockers(findings) == 0;
  out["blockers"] = count_blockers(findings);
  out["findings"] = nlohmann::ordered_json::array();
  for (const CheckFinding& finding : findings) {
    out["findings"].push_back({{"kind", finding.blocker ? "blocker" : "note"},
                               {"where", finding.where},
                               {"what", finding.what},
                               {"fix", finding.fix}});
  }
  return out.dump(2, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace millrace::cli
