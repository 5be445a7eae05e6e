#include "relay/base/logging.h"

#include <atomic>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "relay/base/clock.h"

namespace millrace::logging {
namespace {

std::atomic<Format> format_in_use{Format::text};

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warn:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string_view name_of(Level level) {
  switch (level) {
    case Level::debug:
      return "debug";
    case Level::info:
      return "info";
    case Level::warn:
      return "warn";
    case Level::error:
      return "error";
  }
  return "info";
}

nlohmann::json to_json(const Field& field) {
  return std::visit([](const auto& value) { return nlohmann::json(value); }, field.value);
}

// Invalid UTF-8 becomes U+FFFD, control characters are escaped: a hostile value stays on its line.
std::string dump(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::shared_ptr<spdlog::logger> logger() {
  static const auto instance = [] {
    auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    auto made = std::make_shared<spdlog::logger>("millrace", sink);
    made->set_pattern("%v");
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return instance;
}

}  // namespace

void init_logging(Level level, Format format) {
  format_in_use = format;
  logger()->set_level(to_spdlog(level));
}

void set_level(Level level) { logger()->set_level(to_spdlog(level)); }

void write(Level level, std::string_view event, Fields fields) {
  if (!logger()->should_log(to_spdlog(level))) return;
  const std::string now = to_string(system_clock().wall());
  std::string line;
  if (format_in_use == Format::json) {
    nlohmann::ordered_json object{{"time", now}, {"level", name_of(level)}, {"event", event}};
    for (const Field& field : fields) object[std::string(field.key)] = to_json(field);
    line = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  } else {
    line = fmt::format("{} {:<5} {}", now, name_of(level), event);
    for (const Field& field : fields)
      line += fmt::format(" {}={}", field.key, dump(to_json(field)));
  }
  logger()->log(to_spdlog(level), "{}", line);
}

}  // namespace millrace::logging
