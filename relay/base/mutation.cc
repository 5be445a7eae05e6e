#include "relay/base/mutation.h"

#ifdef MILLRACE_MUTATIONS
#include <cstdlib>
#include <set>
#include <sstream>
#include <string>

namespace millrace {

namespace {

using Rules = std::set<std::string, std::less<>>;

Rules parse(std::string_view text) {
  Rules chosen;
  std::istringstream stream{std::string(text)};
  for (std::string name; std::getline(stream, name, ',');) chosen.insert(name);
  return chosen;
}

Rules& rules() {
  static Rules chosen = [] {
    const char* text = std::getenv("MILLRACE_MUTATE");
    return parse(text ? text : "");
  }();
  return chosen;
}

}  // namespace

bool mutated(std::string_view rule) { return rules().find(rule) != rules().end(); }

void set_mutations(std::string_view text) { rules() = parse(text); }

}  // namespace millrace
#endif
