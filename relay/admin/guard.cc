#include "relay/admin/guard.h"

#include <array>
#include <string>

namespace millrace::admin {
namespace {

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  for (size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

std::string bracketed(std::string_view host) {
  return host.find(':') == std::string_view::npos ? std::string(host)
                                                  : "[" + std::string(host) + "]";
}

}  // namespace

bool constant_time_equal(std::string_view a, std::string_view b) {
  volatile unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference = static_cast<unsigned char>(difference | (a[i] ^ other));
  }
  return difference == 0;
}

bool bearer_matches(std::string_view authorization, std::string_view token) {
  constexpr std::string_view kScheme = "Bearer ";
  if (authorization.size() < kScheme.size() ||
      !equal_ignoring_case(authorization.substr(0, kScheme.size()), kScheme)) {
    return false;
  }
  return !token.empty() && constant_time_equal(authorization.substr(kScheme.size()), token);
}

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

bool host_header_allowed(std::string_view header, std::string_view host, uint16_t port) {
  const std::string suffix = ":" + std::to_string(port);
  const std::array<std::string, 4> names{bracketed(host), "localhost", "127.0.0.1", "[::1]"};
  for (const std::string& name : names) {
    if (equal_ignoring_case(header, name + suffix)) return true;
    if (port == 80 && equal_ignoring_case(header, name)) return true;
  }
  return false;
}

}  // namespace millrace::admin
