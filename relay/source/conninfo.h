// Conninfo: a user's DSN with what Millrace pins, and what must not be shown of it.
//
// Invariant: a text that went through Redactor::clean holds no password of this DSN.
// Pinned for every session, since row values travel as text: DateStyle, IntervalStyle,
// extra_float_digits, TimeZone, bytea_output, lc_monetary, client_encoding, search_path (regclass
// and its kin are printed by it) and row_security=off (a policy is then an error, never fewer
// rows).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "relay/base/result.h"
#include "relay/source/options.h"

namespace millrace::source {

class Redactor {
 public:
  void add(std::string secret);
  // Secrets become ***; line ends become "; ", so that the text is one line.
  std::string clean(std::string_view text) const;

 private:
  std::vector<std::string> secrets_;  // longest first
};

struct Conninfo {
  std::vector<std::string> keywords;
  std::vector<std::string> values;
  Redactor redactor;
  std::string where;  // "host:port/database" for messages

  const std::string* find(std::string_view keyword) const;
};

enum class Purpose { sql, replication };

// Errors: config for a DSN that libpq can not read; says why without showing it.
Result<Conninfo> make_conninfo(const Options& options, Purpose purpose);

// The startup parameter "options": the user's own first, ours after, which win.
std::string pinned_options(std::string_view users);

}  // namespace millrace::source
