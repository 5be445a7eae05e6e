// Interpolation: ${env:NAME} and ${file:path} inside a value; "$${" stands for a plain "${".
//
// In a connection string the substituted text is quoted for its place (percent-encoded in the user
// part of a URI, single-quoted after `key=`), so that a password may hold any character.
#pragma once

#include <string>
#include <string_view>

#include "relay/base/result.h"
#include "relay/config/config.h"

namespace millrace::config {

struct Interpolation {
  const Environment& environment;
  std::string folder;  // relative ${file:…} paths start here
};

enum class Quoting { none, connection_string };

// Errors: config; the message never holds the text of a variable or file.
Result<std::string> interpolate(std::string_view text, const Interpolation& sources,
                                Quoting quoting);

}  // namespace millrace::config
