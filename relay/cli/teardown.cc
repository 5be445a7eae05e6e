// millrace teardown: removes slot, publication, log and metadata; says first what it will remove.
//
// The slot goes first: it holds back the source's WAL, and a slot that is in use tells that the
// pipeline runs, before anything else is gone. Target rows stay.
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "relay/base/logging.h"
#include "relay/checkpoint/store.h"
#include "relay/cli/command.h"
#include "relay/cli/wiring.h"

namespace millrace::cli {
namespace {

class Teardown {
 public:
  explicit Teardown(const config::Config& config)
      : config_(config), catalog_(source_options(config)) {}

  // Looks, and fills in what run() will remove.
  Status look() {
    TRY(refuse_beside_a_process());
    TRY_ASSIGN(slot_, catalog_.slot(config_.source.slot));
    if (slot_ && slot_->active) {
      return fail(ErrorCode::refused,
                  "process " + std::to_string(slot_->active_pid) + " of the source reads slot " +
                      config_.source.slot,
                  "stop `millrace run` of this pipeline first");
    }
    TRY_ASSIGN(publication_, catalog_.publication(config_.source.publication));
    auto selected = select_tables(catalog_, config_);
    if (selected) {
      selected_ = std::move(*selected);
    } else {
      // A table that was dropped meanwhile: what is ours of the others still goes.
      logging::warn("not every table is there any more", {{"error", selected.error().describe()}});
    }
    TRY_ASSIGN(target_, make_target(config_, selected_ ? &*selected_ : nullptr));
    return target_->teardown(&target_sql_);
  }

  std::string plan() const {
    std::string out;
    if (slot_) out += "source: slot " + config_.source.slot + "\n";
    if (publication_) out += "source: publication " + config_.source.publication + "\n";
    out += "log: " + log_text() + "\n";
    out += "target:\n" + target_sql_;
    if (!out.ends_with('\n')) out += '\n';
    return out + "state: " + config_.state + "/{capture,apply,log,admin.address}\n";
  }

  Status run() {
    if (slot_) TRY(catalog_.drop_slot(config_.source.slot));
    if (publication_) TRY(catalog_.drop_publication(config_.source.publication));
    if (config_.log.kind == config::LogKind::kafka) {
      TRY_ASSIGN(const auto log, open_log(config_));
      TRY(log->remove_topics(topics()));
    }
    TRY(target_->teardown(nullptr));
    return remove_state();
  }

 private:
  // A process that waits for a broken source holds no slot, but it holds its folders.
  Status refuse_beside_a_process() const {
    for (const std::string& folder : {capture_folder(config_), apply_folder(config_)}) {
      std::error_code ignored;
      if (!std::filesystem::exists(folder, ignored)) continue;
      checkpoint::Options options;
      options.path = folder;
      options.pipeline = config_.pipeline;
      const auto store = checkpoint::Store::open(options);
      if (!store && store.error().code() == ErrorCode::refused) return fail(store.error());
    }
    return {};
  }

  std::vector<log::TopicSpec> topics() const {
    auto out = selected_ ? selected_->topics(config_) : std::vector<log::TopicSpec>();
    out.push_back({config_.log.manifest_topic, 1});
    return out;
  }

  std::string log_text() const {
    if (config_.log.kind == config::LogKind::embedded) return "folder " + log_folder(config_);
    std::string out = "topics";
    for (const log::TopicSpec& topic : topics()) out += " " + topic.name;
    return out;
  }

  // Only what we have made; the folder itself when nothing else is in it.
  Status remove_state() const {
    namespace fs = std::filesystem;
    const std::string state = config_.state;
    for (const std::string& path :
         {capture_folder(config_), apply_folder(config_), spill_folder(config_),
          capture_folder(config_) + ".damaged", apply_folder(config_) + ".damaged",
          log_folder(config_), log_folder(config_) + ".damaged", state + "/admin.address"}) {
      std::error_code error;
      fs::remove_all(path, error);
      if (error) {
        return fail(ErrorCode::retryable, "can not remove " + path + ": " + error.message(),
                    "remove it by hand");
      }
    }
    std::error_code ignored;
    fs::remove(state, ignored);  // fails when it is not empty
    return {};
  }

  const config::Config& config_;
  source::Catalog catalog_;
  std::optional<source::SlotInfo> slot_;
  std::optional<source::Publication> publication_;
  std::optional<SelectedTables> selected_;
  std::unique_ptr<sink::Target> target_;
  std::string target_sql_;
};

Status confirm(const config::Config& config) {
  if (::isatty(STDIN_FILENO) != 1) {
    return fail(ErrorCode::config, "nothing was removed: there is no terminal to ask on",
                "add --yes to remove what stdout lists");
  }
  std::fprintf(stderr, "Remove all this? Write the pipeline's name (%s) to go on: ",
               config.pipeline.c_str());
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == config.pipeline) return {};
  return fail(ErrorCode::cancelled, "nothing was removed");
}

Result<int> command_teardown(const config::Config& config, bool yes) {
  Teardown teardown(config);
  TRY(teardown.look());
  std::fputs(("millrace teardown removes:\n" + teardown.plan()).c_str(), stdout);
  std::fflush(stdout);
  if (!yes) TRY(confirm(config));
  TRY(teardown.run());
  logging::info("removed", {{"pipeline", config.pipeline}});
  return 0;
}

}  // namespace

void add_teardown(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand(
      "teardown", "remove slot, publication, log and metadata; the target's rows stay");
  add_config_option(*command, invocation);
  auto yes = std::make_shared<bool>(false);
  command->add_flag("--yes,-y", *yes, "do not ask");
  set_example(*command, "millrace teardown -c shop.yaml --yes");
  command->callback([&invocation, yes] {
    invocation.body = [yes](const Context& context) {
      return command_teardown(context.config, *yes);
    };
  });
}

}  // namespace millrace::cli
