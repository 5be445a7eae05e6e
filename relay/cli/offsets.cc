// millrace offsets: what the state folder and the target remember of how far the pipeline has come.
//
// Reads beside a running process. The folder is a copy: the log and the target decide
// (docs/formats.md).
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>

#include <CLI/CLI.hpp>

#include "relay/checkpoint/store.h"
#include "relay/cli/command.h"
#include "relay/cli/offsets_text.h"
#include "relay/cli/place.h"
#include "relay/cli/wiring.h"

namespace millrace::cli {
namespace {

struct OffsetsOptions {
  bool json = false;
  std::string kind;
  std::string from;
  std::string to;
  size_t limit = 100;
};

Result<std::unique_ptr<checkpoint::Store>> open_observer(const config::Config& config,
                                                         const std::string& folder) {
  checkpoint::Options options;
  options.path = folder;
  options.pipeline = config.pipeline;
  options.mode = checkpoint::Mode::observer;
  return checkpoint::Store::open(options);
}

// nullptr where there is no such folder: the role has never run here.
Result<std::unique_ptr<checkpoint::Store>> open_if_there(const config::Config& config,
                                                         const std::string& folder) {
  std::error_code ignored;
  if (!std::filesystem::exists(folder, ignored)) return nullptr;
  return open_observer(config, folder);
}

Result<std::vector<checkpoint::Entry>> latest_entries(const config::Config& config) {
  using checkpoint::Kind;
  std::vector<checkpoint::Entry> out;
  for (const std::string& folder : {capture_folder(config), apply_folder(config)}) {
    TRY_ASSIGN(const auto store, open_if_there(config, folder));
    if (!store) continue;
    for (const Kind kind : {Kind::published, Kind::acknowledged, Kind::applied}) {
      TRY_ASSIGN(const auto entry, store->latest(kind));
      if (entry) out.push_back(*entry);
    }
  }
  return out;
}

Result<std::optional<sink::Applied>> applied_in_target(const config::Config& config) {
  TRY_ASSIGN(const auto target, make_target(config, nullptr));
  return target->applied();
}

// What the folders hold, and what the target has; of one kind, when it is named.
Result<std::vector<OffsetLine>> all_lines(const config::Config& config, const std::string& kind) {
  TRY_ASSIGN(const auto entries, latest_entries(config));
  std::vector<OffsetLine> lines;
  for (const checkpoint::Entry& entry : entries) lines.push_back(line_of(entry));
  if (kind.empty() || kind == "target") {
    const auto applied = applied_in_target(config);
    if (applied && *applied) lines.push_back(line_of(config.pipeline, **applied));
    if (!applied) {
      if (kind == "target") return fail(applied.error());
      logging::warn("the target can not be asked", {{"error", applied.error().describe()}});
    }
  }
  if (!kind.empty())
    std::erase_if(lines, [&](const OffsetLine& line) { return line.kind != kind; });
  return lines;
}

Result<int> list(const config::Config& config, const OffsetsOptions& options) {
  TRY_ASSIGN(const auto lines, all_lines(config, ""));
  std::fputs((options.json ? lines_json(lines) : lines_text(lines)).c_str(), stdout);
  if (lines.empty()) {
    logging::info("nothing yet: this pipeline has not run with this state folder", {});
  }
  return 0;
}

Result<int> show(const config::Config& config, const OffsetsOptions& options) {
  TRY_ASSIGN(const auto lines, all_lines(config, options.kind));
  if (lines.empty()) {
    return fail(ErrorCode::negative,
                "there is no " + (options.kind.empty() ? "" : options.kind + " ") + "offset yet",
                "`millrace offsets list` shows what there is");
  }
  if (options.json) {
    std::fputs(lines_json(lines).c_str(), stdout);
    return 0;
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    std::fputs(((i > 0 ? "\n" : "") + line_details(lines[i])).c_str(), stdout);
  }
  return 0;
}

Result<std::vector<checkpoint::Entry>> history_between(const checkpoint::Store& store,
                                                       const OffsetsOptions& options) {
  constexpr uint32_t kLastEpoch = std::numeric_limits<uint32_t>::max();
  Place from = Lsn{0};
  if (!options.from.empty()) {
    TRY_ASSIGN(from, parse_place(options.from));
  }
  Place to = std::holds_alternative<Lsn>(from)
                 ? Place(Lsn{std::numeric_limits<uint64_t>::max()})
                 : Place(TimeMicros{std::numeric_limits<int64_t>::max()});
  if (!options.to.empty()) {
    TRY_ASSIGN(to, parse_place(options.to));
  }
  if (options.from.empty() && std::holds_alternative<TimeMicros>(to)) {
    from = TimeMicros{std::numeric_limits<int64_t>::min()};
  }
  if (from.index() != to.index()) {
    return fail(ErrorCode::config, "--from and --to must both be times, or both be LSNs");
  }
  if (const auto* time = std::get_if<TimeMicros>(&from)) {
    return store.history(*time, std::get<TimeMicros>(to), options.limit);
  }
  return store.history(checkpoint::Place{0, std::get<Lsn>(from)},
                       checkpoint::Place{kLastEpoch, std::get<Lsn>(to)}, options.limit);
}

Result<int> history(const config::Config& config, const OffsetsOptions& options) {
  TRY_ASSIGN(const auto store, open_if_there(config, capture_folder(config)));
  if (!store) {
    return fail(ErrorCode::negative,
                "there is no history: nothing was captured with this state folder",
                "run it where `millrace run` with role all or capture runs");
  }
  TRY_ASSIGN(const auto entries, history_between(*store, options));
  std::vector<OffsetLine> lines;
  for (const checkpoint::Entry& entry : entries) lines.push_back(line_of(entry));
  std::fputs((options.json ? lines_json(lines) : lines_text(lines)).c_str(), stdout);
  if (lines.size() == options.limit) {
    logging::info("there may be older ones; raise --limit", {{"limit", options.limit}});
  }
  return 0;
}

using Run = Result<int> (*)(const config::Config&, const OffsetsOptions&);

CLI::App* add(CLI::App& parent, Invocation& invocation, std::shared_ptr<OffsetsOptions> options,
              const std::string& name, const std::string& description, Run run) {
  auto* command = parent.add_subcommand(name, description);
  add_config_option(*command, invocation);
  command->add_flag("--json", options->json, "as JSON");
  command->callback([&invocation, options, run] {
    invocation.body = [options, run](const Context& context) {
      return run(context.config, *options);
    };
  });
  return command;
}

}  // namespace

void add_offsets(CLI::App& app, Invocation& invocation) {
  auto* group = app.add_subcommand("offsets", "how far the pipeline has come, now and in the past");
  group->require_subcommand(1);
  set_example(*group, "millrace offsets list -c shop.yaml");
  auto options = std::make_shared<OffsetsOptions>();

  auto* list_command =
      add(*group, invocation, options, "list", "the latest offset of each kind", list);
  set_example(*list_command, "millrace offsets list -c shop.yaml --json");

  auto* show_command = add(*group, invocation, options, "show", "everything about an offset", show);
  show_command
      ->add_option("kind", options->kind,
                   "published | acknowledged | applied | target; all of them without")
      ->check(CLI::IsMember({"published", "acknowledged", "applied", "target"}));
  set_example(*show_command, "millrace offsets show published -c shop.yaml");

  auto* history_command = add(*group, invocation, options, "history",
                              "published offsets of the past, the newest last", history);
  history_command->add_option("--from", options->from, "LSN, position or time to begin at");
  history_command->add_option("--to", options->to, "LSN, position or time to end before");
  history_command->add_option("--limit", options->limit, "the newest so many")
      ->check(CLI::Range(size_t{1}, size_t{1'000'000}))
      ->capture_default_str();
  set_example(
      *history_command,
      "millrace offsets history -c shop.yaml --from 2026-11-20T10:00Z --to 2026-11-20T11:00Z");
  for (const char* name : {"export", "import", "seek"}) add_not_built(*group, invocation, name);
}

}  // namespace millrace::cli
