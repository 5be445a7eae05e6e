#include "relay/base/mutation.h"

#ifdef MILLRACE_MUTATIONS
#include <cstdlib>
#include <set>
#include <sstream>
#include <string>

namespace millrace {

bool mutated(std::string_view rule) {
  static const std::set<std::string, std::less<>> rules = [] {
    std::set<std::string, std::less<>> chosen;
    if (const char* text = std::getenv("MILLRACE_MUTATE")) {
      std::istringstream stream(text);
      for (std::string name; std::getline(stream, name, ',');) chosen.insert(name);
    }
    return chosen;
  }();
  return rules.find(rule) != rules.end();
}

}  // namespace millrace
#endif
