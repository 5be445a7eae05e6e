// docs/configuration.md and the dump of what is in effect, both from the table of options.
#include <algorithm>
#include <string>
#include <vector>

#include "relay/config/options.h"
#include "relay/config/units.h"

namespace millrace::config {
namespace {

constexpr std::string_view kIntroduction = R"(# Configuration

<!-- Made by `millrace docs-config` from the table in relay/config/options.cc; change it there. -->

One YAML file describes one pipeline. Unknown and repeated keys are errors; every mistake is listed
at once, with file and line, and nothing is touched (exit code 2).

- **Sizes** are written `64MB` (B, KB, MB, GB, TB; 1MB is 1024·1024 bytes, as Postgres counts),
  **times** `500ms` (ms, s, m, h, d), switches `on` or `off`.
- `${env:NAME}` and `${file:path}` may stand anywhere in a value; a file that everybody may read is
  refused, and its last newline is left out. `$${` stands for a plain `${`. In a connection string
  the text is quoted for its place, so a password may hold any character as it is.
- Relative paths, `state` too, start at the folder of the config file.
- **Table names** are written as SQL writes them: `public.customers`, `public."Odd Name"`; without a
  schema they are in `public`.
- What is marked *not built yet* is refused by name.

```yaml
pipeline: shop
source:
  dsn: postgresql://relay:${env:SRC_PASSWORD}@db.old/shop?sslmode=verify-full
target:
  dsn: postgresql://relay:${file:/run/secrets/target}@db.new/shop
tables:
- public.customers
- from: public.payments
  to: billing.payments_v2
  map: {amount_cents: "round(amount * 100)::bigint", amount: ~}
- pattern: "public.orders_*"
```
)";

std::string choices(std::span<const std::string_view> names) {
  std::string out;
  for (const auto& name : names) {
    if (!out.empty()) out += " \\| ";
    out += name;
  }
  return out;
}

struct Bounds {
  std::string operator()(const TextOption& o) const { return std::string(o.form); }
  std::string operator()(const SecretOption& o) const {
    return o.least_bytes > 1 ? "secret, at least " + std::to_string(o.least_bytes) + " bytes"
                             : "secret";
  }
  std::string operator()(const SizeOption& o) const {
    return format_size(o.least) + " to " + format_size(o.most);
  }
  std::string operator()(const CountOption& o) const {
    return std::to_string(o.least) + " to " + std::to_string(o.most);
  }
  std::string operator()(const TimeOption& o) const {
    return format_duration(o.least) + " to " + format_duration(o.most);
  }
  std::string operator()(const SwitchOption&) const { return "on \\| off"; }
  std::string operator()(const ChoiceOption& o) const { return choices(o.names); }
  std::string operator()(const SpecialOption& o) const { return std::string(o.form); }
};

std::string default_of(const Option& option) {
  if (option.required) return "**required**";
  if (!option.fallback_doc.empty()) return std::string(option.fallback_doc);
  return "`" + std::string(option.fallback) + "`";
}

std::string not_built_note(const Option& option) {
  if (option.not_built.empty()) return {};
  std::string out = " Not built yet:";
  for (const auto& value : option.not_built) {
    out += out.ends_with(':') ? " `" : ", `";
    out += std::string(value) + "`";
  }
  return out + ".";
}

std::string section_of(std::string_view key) {
  const size_t dot = key.find('.');
  return dot == std::string_view::npos ? "" : std::string(key.substr(0, dot));
}

std::string rows_of(const std::string& section) {
  std::string out = "\n| key | values | default | |\n|---|---|---|---|\n";
  for (const Option& option : options()) {
    if (section_of(option.key) != section) continue;
    out += "| `" + std::string(option.key) + "` | " + std::visit(Bounds{}, option.kind) + " | " +
           default_of(option) + " | " + std::string(option.doc) + not_built_note(option) + " |\n";
  }
  return out;
}

std::string entry_rows(std::span<const EntryKey> keys) {
  std::string out = "\n| key | values | |\n|---|---|---|\n";
  for (const EntryKey& key : keys) {
    out += "| `" + std::string(key.key) + "` | " + std::string(key.form) + " | " +
           std::string(key.doc) + " |\n";
  }
  return out;
}

std::string show_listen(const AdminOptions& admin) {
  if (!admin.enabled) return "off";
  const bool v6 = admin.host.find(':') != std::string::npos;
  return (v6 ? "[" + admin.host + "]" : admin.host) + ":" + std::to_string(admin.port);
}

std::string show_special(const Option& option, const Config& config) {
  std::string out;
  if (option.key == "admin.listen") return show_listen(config.admin);
  if (option.key == "log.kafka") {
    // Any of them may be a password.
    for (const auto& [name, value] : config.log.kafka)
      out += (out.empty() ? "" : ", ") + name + ": ***";
    return "{" + out + "}";
  }
  if (option.key == "verify.schedule") {
    for (const ScheduledProof& entry : config.verify.schedule) {
      out += (out.empty() ? "" : "; ") + to_string(entry);
    }
    return "[" + out + "]";
  }
  if (option.key == "verify.invariants") {
    for (const auto& [name, sql] : config.verify.invariants) {
      if (!out.empty()) out += ", ";
      out.append(name).append(": ").append(sql);
    }
    return "{" + out + "}";
  }
  for (const TableEntry& entry : config.tables) {
    out += (out.empty() ? "" : ", ") + to_string(entry.from);
    if (!entry.pattern && entry.to != entry.from) out += " to " + to_string(entry.to);
  }
  return "[" + out + "]";
}

}  // namespace

std::string reference_markdown() {
  std::string out(kIntroduction);
  std::vector<std::string> sections;
  for (const Option& option : options()) {
    const std::string section = section_of(option.key);
    if (std::find(sections.begin(), sections.end(), section) != sections.end()) continue;
    sections.push_back(section);
    out += section.empty() ? "\n## The pipeline\n" : "\n## " + section + "\n";
    out += rows_of(section);
    if (section.empty()) {
      out += "\n### An entry of `tables`\n" + entry_rows(table_entry_keys());
    }
    if (section == "verify") {
      out += "\n### An entry of `verify.schedule`\n" + entry_rows(schedule_entry_keys());
    }
  }
  out += "\n## Not built yet\n\nThese keys are known and refused:";
  for (const auto& key : keys_not_built()) out += " `" + std::string(key) + "`";
  return out + ".\n";
}

std::string effective(const Config& config) {
  std::string out;
  for (const Option& option : options()) {
    const bool special = std::holds_alternative<SpecialOption>(option.kind);
    const std::string value = special ? show_special(option, config) : show(option, config);
    out += std::string(option.key) + ": " + value + "\n";
  }
  return out;
}

}  // namespace millrace::config
