// topic_name: the topic of a table, legal for Kafka and different for different tables.
//
// Format: the template with {pipeline}, {schema} and {table} replaced. In schema and table every
// byte but [A-Za-z0-9_] becomes "-" and two lower-case hex digits, so that a dot only ever
// separates. A name longer than 249 bytes is cut, and ends in "-h" and 16 hex digits of its FNV-1a
// hash, which no escape gives. Source: Kafka's org.apache.kafka.common.internals.Topic (legal
// characters, 249).
#pragma once

#include <string>
#include <string_view>

namespace millrace::transform {

constexpr size_t kTopicBytesMost = 249;

std::string topic_name(std::string_view form, std::string_view pipeline, std::string_view schema,
                       std::string_view table);

}  // namespace millrace::transform
