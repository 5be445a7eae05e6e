// Reader, second half: defaults, and what holds between options.
#include <algorithm>
#include <map>

#include "relay/config/reader.h"
#include "relay/config/units.h"
#include "relay/config/values.h"

namespace millrace::config {
namespace {

std::string with_pipeline(std::string_view text, const std::string& pipeline) {
  constexpr std::string_view kPlaceholder = "{pipeline}";
  std::string out(text);
  for (size_t at = out.find(kPlaceholder); at != std::string::npos;
       at = out.find(kPlaceholder, at)) {
    out.replace(at, kPlaceholder.size(), pipeline);
    at += pipeline.size();
  }
  return out;
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

}  // namespace

void Reader::fill_in() {
  for (const Option& option : options()) {
    if (given(option.key)) continue;
    if (option.required) {
      mistakes_.add(line_of(option.key), "missing key \"" + std::string(option.key) + "\"");
    } else if (option.key == "admin.listen") {
      read_listen(option.fallback, option.fallback, 1);
    } else if (!option.fallback.empty()) {
      const std::string value = with_pipeline(
          option.fallback, option.key.starts_with("source.") ? config_.pipeline : "{pipeline}");
      // Without a pipeline there is a mistake already, and no name to fill in.
      if (value != "millrace_") (void)set_value(option, config_, value, value);
    }
  }
  fill_in_dependent();
}

void Reader::fill_in_dependent() {
  LogOptions& log = config_.log;
  log.manifest_topic = with_pipeline(log.manifest_topic, config_.pipeline);
  if (!given("log.acknowledge")) {
    log.acknowledge = log.kind == LogKind::kafka ? Acknowledge::published : Acknowledge::applied;
  }
  if (!given("log.max_record")) log.max_record = std::min(log.max_record, config_.memory / 2);
  const uint64_t eighth = config_.memory / 8;
  if (!given("publish.group_bytes")) {
    config_.publish.bytes = std::min(config_.publish.bytes, eighth);
  }
  if (!given("apply.group_bytes")) {
    config_.apply.group.bytes = std::min(config_.apply.group.bytes, eighth);
  }
}

void Reader::check() {
  check_memory();
  check_log();
  check_tables();
  check_schedule();
  const AdminOptions& admin = config_.admin;
  if (admin.enabled && !admin.host.empty() && !is_loopback(admin.host) && admin.token.empty()) {
    mistakes_.add(
        line_of("admin.listen"),
        "admin.listen: the address is not loopback; set admin.token, or listen on 127.0.0.1");
  }
}

void Reader::check_memory() {
  const auto at_most = [&](std::string_view key, uint64_t value, uint64_t part) {
    if (given(key) && value > config_.memory / part) {
      mistakes_.add(line_of(key), std::string(key) + ": " + format_size(value) +
                                      " needs memory of at least " + format_size(value * part) +
                                      "; it is " + format_size(config_.memory));
    }
  };
  at_most("log.max_record", config_.log.max_record, 2);
  at_most("publish.group_bytes", config_.publish.bytes, 4);
  at_most("apply.group_bytes", config_.apply.group.bytes, 4);
}

void Reader::check_log() {
  const LogOptions& log = config_.log;
  if (log.kind == LogKind::kafka && log.brokers.empty() && !given("log.brokers")) {
    mistakes_.add(line_of("log.kind"), "missing key \"log.brokers\", which kafka needs");
  }
}

void Reader::check_tables() {
  std::map<TableName, const TableEntry*> sources;
  std::map<TableName, const TableEntry*> targets;
  for (const TableEntry& entry : config_.tables) {
    const auto [first, fresh] = sources.emplace(entry.from, &entry);
    if (!fresh) {
      mistakes_.add(entry.line, "tables: " + to_string(entry.from) + " stands in line " +
                                    std::to_string(first->second->line) + " already");
      continue;
    }
    if (entry.pattern) continue;
    const auto [other, alone] = targets.emplace(entry.to, &entry);
    if (!alone) {
      mistakes_.add(entry.line, "tables: " + to_string(entry.from) + " and " +
                                    to_string(other->second->from) + " (line " +
                                    std::to_string(other->second->line) + ") both land in " +
                                    to_string(entry.to));
    }
  }
}

void Reader::check_schedule() {
  const bool patterns = std::any_of(config_.tables.begin(), config_.tables.end(),
                                    [](const TableEntry& entry) { return entry.pattern; });
  for (const ScheduledProof& entry : config_.verify.schedule) {
    if (entry.kind == ProofKind::invariants && config_.verify.invariants.empty()) {
      mistakes_.add(entry.line, "verify.schedule: there are no verify.invariants to prove");
    }
    for (const TableName& table : entry.tables) {
      const bool known = std::any_of(config_.tables.begin(), config_.tables.end(),
                                     [&](const TableEntry& one) { return one.from == table; });
      // What a pattern selects is known to the source alone.
      if (known || patterns) continue;
      mistakes_.add(entry.line, "verify.schedule: " + to_string(table) + " is not one of `tables`");
    }
  }
}

}  // namespace millrace::config
