// Rules for text values: each returns what is wrong, in words that follow the key; empty when all
// is well.
#pragma once

#include <string>
#include <string_view>

namespace millrace::config::rules {

std::string pipeline_name(std::string_view value);
std::string slot_name(std::string_view value);
std::string identifier(std::string_view value);
std::string anything(std::string_view value);
std::string path(std::string_view value);
std::string http_url(std::string_view value);
std::string brokers(std::string_view value);
std::string topic_template(std::string_view value);
std::string manifest_topic(std::string_view value);

}  // namespace millrace::config::rules
