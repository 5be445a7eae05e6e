// Guard: who may ask the admin port. Pure functions over header texts.
#pragma once

#include <cstdint>
#include <string_view>

namespace millrace::admin {

// In time that depends on the lengths alone.
bool constant_time_equal(std::string_view a, std::string_view b);

// "Bearer <token>".
bool bearer_matches(std::string_view authorization, std::string_view token);

bool is_loopback(std::string_view host);

// A web page can make a browser ask 127.0.0.1 under a name of the page's choosing (DNS rebinding);
// the Host header tells. `host` is what we listen on.
bool host_header_allowed(std::string_view header, std::string_view host, uint16_t port);

}  // namespace millrace::admin
