// millrace check: proves config, connections, privileges and tables, and changes nothing.
#include <cstdio>
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "relay/cli/command.h"
#include "relay/cli/findings.h"
#include "relay/cli/runnable.h"
#include "relay/cli/wiring.h"
#include "relay/pipeline/setup_stream.h"
#include "relay/source/checks.h"

namespace millrace::cli {
namespace {

std::vector<source::TableSelector> selectors_of(const config::Config& config) {
  std::vector<source::TableSelector> out;
  for (const config::TableEntry& entry : config.tables) {
    out.push_back({{entry.from.schema, entry.from.name}, entry.pattern});
  }
  return out;
}

class Checker {
 public:
  explicit Checker(const config::Config& config) : config_(config) {}

  std::vector<CheckFinding> run() {
    check_config();
    check_source();
    check_log();
    check_target();
    if (slot_is_gone_) check_stream();
    return std::move(findings_);
  }

 private:
  void add(bool blocker, const std::string& where, const Error& error) {
    findings_.push_back(make_finding(blocker, where, error));
  }

  void check_config() {
    if (config_.log.kind == config::LogKind::embedded &&
        config_.log.acknowledge == config::Acknowledge::published) {
      findings_.push_back(
          {false, "config",
           "log.acknowledge is published with the embedded log: whoever loses the "
           "folder " +
               config_.state + " loses changes",
           "log.acknowledge: applied keeps them at the source until they are applied"});
    }
    if (config_.source.dsn == config_.target.dsn) {
      for (const config::TableEntry& entry : config_.tables) {
        if (!entry.pattern && entry.to != entry.from) continue;
        findings_.push_back({true, "config",
                             "source and target are one database, and " +
                                 config::to_string(entry.from) + " would be copied onto itself",
                             "name another target.dsn"});
      }
    }
    std::error_code error;
    std::filesystem::path folder = config_.state;
    if (folder.is_relative()) folder = std::filesystem::current_path(error) / folder;
    while (!std::filesystem::exists(folder, error) && folder.has_parent_path() &&
           folder != folder.parent_path()) {
      folder = folder.parent_path();
    }
    if (::access(folder.c_str(), W_OK) != 0) {
      findings_.push_back(
          {true, "config",
           "the state folder can not be made: " + folder.string() + " is not writable",
           "set `state` to a folder that this user may write"});
    }
  }

  void check_source() {
    source::Catalog catalog(source_options(config_));
    const auto selectors = selectors_of(config_);
    auto found = source::check_source(catalog, source_options(config_), selectors);
    if (!found) return add(true, "source", found.error());
    for (const source::Finding& finding : *found) add(finding.blocker, "source", finding.error);
    const auto slot = catalog.slot(config_.source.slot);
    slot_is_gone_ = slot && !*slot;
    auto selected = select_tables(catalog, config_);
    if (selected) {
      selected_ = std::move(*selected);
      note_tables_not_copied();
    } else if (count_blockers(findings_) == 0) {
      // Otherwise check_source has named the tables already.
      add(true, "config", selected.error());
    }
  }

  void note_tables_not_copied() {
    if (!config_.backfill.on_start) return;
    for (const TableSchemaPtr& table : selected_->schemas()) {
      if (table->has_key()) continue;
      add(false, "source",
          Error(ErrorCode::negative,
                "table " + display_name(*table) +
                    " has no key to read it by: rows that are there already are not copied",
                "give it a primary key, or copy it by hand between `millrace setup` and "
                "`millrace run`"));
    }
  }

  // Before set-up nothing is there, and that is no fault: `setup` makes it.
  void check_log() {
    const bool embedded = config_.log.kind == config::LogKind::embedded;
    std::error_code ignored;
    if (embedded && !std::filesystem::exists(log_folder(config_), ignored)) return;
    auto log = open_log(config_, true);
    if (!log) return add(true, "log", log.error());
    const auto topics = selected_ ? selected_->topics(config_) : std::vector<log::TopicSpec>();
    if (auto status = (*log)->ensure_topics(topics, false); !status) {
      const bool fresh = status.error().message().find("does not exist") != std::string::npos;
      return add(!fresh, "log", status.error());
    }
    log_ = std::move(*log);
  }

  void check_target() {
    auto target = make_target(config_, selected_ ? &*selected_ : nullptr);
    if (!target) return add(true, "target", target.error());
    const auto schemas = selected_ ? selected_->schemas() : std::vector<TableSchemaPtr>();
    auto found = (*target)->check(schemas);
    if (!found) return add(true, "target", found.error());
    for (const Error& error : *found) add(true, "target", error);
    // What is wrong with it was said.
    if (const auto applied = (*target)->applied(); applied && *applied) {
      applied_ = (*applied)->watermark;
    }
  }

  // A pipeline that was set up has a slot, or had one.
  void check_stream() {
    const pipeline::StreamSetup setup{source_options(config_), config_.pipeline, "", applied_};
    auto status = pipeline::refuse_if_remembered(setup, log_.get(), {});
    if (!status) add(true, "source", status.error());
  }

  const config::Config& config_;
  std::optional<SelectedTables> selected_;
  bool slot_is_gone_ = false;
  std::unique_ptr<log::Log> log_;
  std::optional<Watermark> applied_;
  std::vector<CheckFinding> findings_;
};

}  // namespace

void add_check(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand(
      "check", "prove config, connections, privileges and tables; change nothing");
  add_config_option(*command, invocation);
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "findings as JSON");
  set_example(*command, "millrace check -c shop.yaml");
  command->callback([&invocation, json] {
    invocation.body = [json](const Context& context) -> Result<int> {
      const auto findings = Checker(context.config).run();
      std::fputs(
          (*json ? findings_json(findings) : runnable(findings_text(findings), context.config.file))
              .c_str(),
          stdout);
      const size_t blockers = count_blockers(findings);
      if (blockers == 0) return 0;
      return fail(ErrorCode::negative,
                  std::to_string(blockers) +
                      (blockers == 1 ? " blocker stands" : " blockers stand") + " in the way of " +
                      context.config.pipeline,
                  "remove what stdout lists, and check again");
    };
  });
}

}  // namespace millrace::cli
