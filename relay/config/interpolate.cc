#include "relay/config/interpolate.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace millrace::config {
namespace {

constexpr size_t kSecretFileMost = size_t{64} * 1024;

struct Closer {
  int fd;
  ~Closer() { ::close(fd); }
};

Result<std::string> read_secret_file(const std::string& name, const std::string& folder) {
  const std::string path = name.starts_with('/') || folder.empty() ? name : folder + "/" + name;
  const std::string what = "${file:" + name + "}: ";
  // Non-blocking, so that a FIFO can not hang the start.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return fail(ErrorCode::config, what + "can not read the file: " + std::strerror(errno));
  const Closer closer{fd};
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return fail(ErrorCode::config, what + "not a regular file");
  }
  if ((info.st_mode & S_IROTH) != 0) {
    return fail(ErrorCode::config, what + "everybody may read the file; run chmod o-r " + path);
  }
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(ErrorCode::config, what + "can not read: " + std::strerror(errno));
    if (got == 0) break;
    text.append(buffer.data(), static_cast<size_t>(got));
    if (text.size() > kSecretFileMost) return fail(ErrorCode::config, what + "larger than 64KB");
  }
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.empty()) return fail(ErrorCode::config, what + "the file is empty");
  return text;
}

Result<std::string> resolve(std::string_view inside, const Interpolation& sources) {
  const std::string name(inside.substr(std::min(inside.find(':') + 1, inside.size())));
  if (inside.starts_with("env:") && !name.empty()) {
    auto value = sources.environment(name);
    if (!value) {
      return fail(ErrorCode::config, "${env:" + name + "}: the environment has no such variable");
    }
    return std::move(*value);
  }
  if (inside.starts_with("file:") && !name.empty()) return read_secret_file(name, sources.folder);
  return fail(ErrorCode::config, "${" + std::string(inside) +
                                     "}: write ${env:NAME} or ${file:path} ($${ for a plain ${)");
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

std::string backslashed(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '\'') out += '\\';
    out += c;
  }
  return out;
}

// Source: PostgreSQL docs, "Connection Strings".
std::string quoted_for(std::string_view before, std::string_view after, const std::string& value) {
  if (before.starts_with("postgresql://") || before.starts_with("postgres://")) {
    const bool in_user_part =
        after.find('@') != std::string_view::npos && before.find('@') == std::string_view::npos;
    return in_user_part ? percent_encoded(value) : value;
  }
  if (before.ends_with("='")) return backslashed(value);
  const bool whole = after.empty() || after.starts_with(' ');
  if (before.ends_with('=') && whole) return "'" + backslashed(value) + "'";
  return value;
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  };
}

Result<std::string> interpolate(std::string_view text, const Interpolation& sources,
                                Quoting quoting) {
  std::string out;
  size_t at = 0;
  while (at < text.size()) {
    if (text.substr(at).starts_with("$${")) {
      out += "${";
      at += 3;
      continue;
    }
    if (!text.substr(at).starts_with("${")) {
      out += text[at++];
      continue;
    }
    const size_t end = text.find('}', at);
    if (end == std::string_view::npos) {
      return fail(ErrorCode::config, "${ without its closing }");
    }
    TRY_ASSIGN(const std::string value, resolve(text.substr(at + 2, end - at - 2), sources));
    out += quoting == Quoting::connection_string
               ? quoted_for(text.substr(0, at), text.substr(end + 1), value)
               : value;
    at = end + 1;
  }
  return out;
}

}  // namespace millrace::config
