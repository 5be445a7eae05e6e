// millrace letters: the changes that the target did not take, and what an operator does with them.
//
// They stand in the target (millrace.parked). All of it works beside a running process.
#include "relay/pipeline/letters.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include "relay/cli/command.h"
#include "relay/cli/letters_text.h"
#include "relay/cli/wiring.h"
#include "relay/pipeline/letter_codec.h"
#include "relay/wire/json.h"

namespace millrace::cli {
namespace {

using sink::Letter;

struct LettersOptions {
  bool json = false;
  bool each = false;    // list: every letter, not only the first of each chain
  bool values = false;  // show
  bool all = false;     // retry, drop
  bool yes = false;     // drop --all
  int64_t id = 0;
  std::vector<std::string> key;  // TABLE KEY
  std::string why;
};

// The mappings that letters need are the running pipeline's: patterns ask the source.
Result<std::unique_ptr<sink::Target>> open_target(config::Config config, bool writes) {
  config.target.on_bad_row = config::OnBadRow::park;  // a letter that fails is no reason to stop
  std::optional<SelectedTables> selected;
  const bool patterns = std::any_of(config.tables.begin(), config.tables.end(),
                                    [](const auto& entry) { return entry.pattern; });
  source::Catalog catalog(source_options(config));
  if (writes && patterns) {
    TRY(catalog.connect());
    TRY_ASSIGN(selected, select_tables(catalog, config));
  }
  TRY_ASSIGN(auto target, make_target(config, selected ? &*selected : nullptr));
  TRY(target->applied());  // connects
  return target;
}

Error none_such(const std::string& what) {
  return Error(ErrorCode::negative, "there is no parked change " + what,
               "`millrace letters list` shows what there is");
}

// What ID, --key or --all mean; whole chains, or with `alone` the one letter of an ID.
Result<std::vector<Letter>> choose(const std::vector<Letter>& letters,
                                   const LettersOptions& options, bool alone) {
  const int given =
      (options.id > 0 ? 1 : 0) + (options.key.empty() ? 0 : 1) + (options.all ? 1 : 0);
  if (given != 1) {
    return fail(ErrorCode::config, "name what is meant by one of ID, --key TABLE KEY and --all",
                "`millrace letters list` shows ids, tables and keys");
  }
  if (options.all) return letters;
  std::string table;
  if (!options.key.empty()) {
    TRY_ASSIGN(const auto name, config::parse_table_name(options.key[0]));
    table = config::to_string(name);
  }
  const auto meant = [&](const Letter& letter) {
    return options.key.empty() ? letter.id == options.id
                               : key_matches(letter, table, options.key[1]);
  };
  const auto heads = pipeline::chain_heads(letters);
  std::vector<bool> chain_meant(letters.size(), false);
  for (size_t i = 0; i < letters.size(); ++i) {
    if (meant(letters[i])) chain_meant[alone && options.key.empty() ? i : heads[i]] = true;
  }
  std::vector<Letter> chosen;
  for (size_t i = 0; i < letters.size(); ++i) {
    if (chain_meant[alone && options.key.empty() ? i : heads[i]]) chosen.push_back(letters[i]);
  }
  if (!chosen.empty()) return chosen;
  return fail(options.key.empty() ? none_such(std::to_string(options.id))
                                  : none_such("of " + table + " " + options.key[1]));
}

Result<int> list(const config::Config& config, const LettersOptions& options) {
  TRY_ASSIGN(const auto target, open_target(config, false));
  auto listed = target->letters()->list();
  // Where no place was made for letters there are none.
  if (!listed && listed.error().code() != ErrorCode::negative) return fail(listed.error());
  const std::vector<Letter> letters = listed ? std::move(*listed) : std::vector<Letter>();
  std::fputs(
      (options.json ? letters_json(letters, options.each) : letters_text(letters, options.each))
          .c_str(),
      stdout);
  if (letters.empty()) logging::info("nothing is parked", {});
  return 0;
}

Result<int> show(const config::Config& config, const LettersOptions& options) {
  TRY_ASSIGN(const auto target, open_target(config, false));
  const int64_t ids[] = {options.id};
  TRY_ASSIGN(const auto letters, target->letters()->read(ids));
  if (letters.empty()) return fail(none_such(std::to_string(options.id)));
  std::string values;
  if (options.values) {
    ChangeBatch batch;
    TRY(pipeline::decode_letter(letters.front(), batch));
    values = wire::change_to_json(batch.changes().front());
  }
  std::fputs(letter_details(letters.front(), values).c_str(), stdout);
  return 0;
}

Result<int> retry(const config::Config& config, const LettersOptions& options) {
  TRY_ASSIGN(const auto target, open_target(config, true));
  TRY_ASSIGN(const auto letters, target->letters()->list());
  TRY_ASSIGN(const auto chosen, choose(letters, options, false));
  TRY_ASSIGN(const auto outcome, pipeline::retry_letters(*target, chosen));
  uint64_t left = 0;
  for (const pipeline::Stuck& stuck : outcome.stuck) {
    left += stuck.waiting;
    logging::warn("a letter fails again", {{"id", stuck.letter.id},
                                           {"table", stuck.letter.table},
                                           {"key", letter_key(stuck.letter)},
                                           {"error", stuck.error.describe()}});
  }
  logging::info("retried", {{"applied", outcome.applied}, {"left", left}});
  if (outcome.stuck.empty()) return 0;
  const pipeline::Stuck& first = outcome.stuck.front();
  return fail(Error(ErrorCode::bad_data,
                    std::to_string(left) + " parked changes of " +
                        std::to_string(outcome.stuck.size()) + " rows are left; letter " +
                        std::to_string(first.letter.id) + ": " + first.error.describe(),
                    "mend the target or the mapping and retry, or `millrace letters drop`"));
}

Result<int> drop(const config::Config& config, const LettersOptions& options) {
  if (options.all && !options.yes) {
    return fail(ErrorCode::config, "nothing was dropped: --all wants --yes too",
                "the target will lack what is dropped; `millrace letters list` shows it");
  }
  TRY_ASSIGN(const auto target, open_target(config, false));
  TRY_ASSIGN(const auto letters, target->letters()->list());
  TRY_ASSIGN(const auto chosen, choose(letters, options, true));
  if (chosen.empty()) return 0;
  TRY_ASSIGN(const uint64_t dropped,
             pipeline::drop_letters(*target, chosen, person(), options.why));
  logging::warn("dropped: the target lacks these changes and differs from the source",
                {{"letters", dropped}, {"journal", "millrace.journal in the target"}});
  return 0;
}

using Run = Result<int> (*)(const config::Config&, const LettersOptions&);

CLI::App* add(CLI::App& parent, Invocation& invocation, std::shared_ptr<LettersOptions> options,
              const std::string& name, const std::string& description, Run run) {
  auto* command = parent.add_subcommand(name, description);
  add_config_option(*command, invocation);
  command->callback([&invocation, options, run] {
    invocation.body = [options, run](const Context& context) {
      return run(context.config, *options);
    };
  });
  return command;
}

void add_selection(CLI::App& command, LettersOptions& options) {
  command.add_option("id", options.id, "a letter, as `list` shows it")->check(CLI::PositiveNumber);
  command
      .add_option(
          "--key", options.key,
          "the letters of one row: its table and its key (as `list` shows it, or its values with "
          "commas between)")
      ->expected(2)
      ->type_name("TABLE KEY");
  command.add_flag("--all", options.all, "every letter of the pipeline");
}

}  // namespace

void add_letters(CLI::App& app, Invocation& invocation) {
  auto* group =
      app.add_subcommand("letters", "changes that the target did not take (dead letters)");
  group->require_subcommand(1);
  set_example(*group, "millrace letters list -c shop.yaml");
  auto options = std::make_shared<LettersOptions>();

  auto* list_command =
      add(*group, invocation, options, "list", "what is parked, one line a row", list);
  list_command->add_flag("--json", options->json, "as JSON");
  list_command->add_flag("--each", options->each, "every change, not only the first of a row");
  set_example(*list_command, "millrace letters list -c shop.yaml --json");

  auto* show_command = add(*group, invocation, options, "show", "one letter, as JSON", show);
  show_command->add_option("id", options->id, "as `list` shows it")
      ->required()
      ->check(CLI::PositiveNumber);
  show_command->add_flag("--values", options->values, "the row's values too: they may be secret");
  set_example(*show_command, "millrace letters show 7 -c shop.yaml --values");

  auto* retry_command = add(*group, invocation, options, "retry",
                            "apply letters in order, where the target's row is not newer", retry);
  add_selection(*retry_command, *options);
  set_example(*retry_command, "millrace letters retry -c shop.yaml --all");

  auto* drop_command =
      add(*group, invocation, options, "drop", "give changes up: the target will lack them", drop);
  add_selection(*drop_command, *options);
  drop_command->add_flag("--yes,-y", options->yes, "needed with --all");
  drop_command->add_option("--why", options->why, "kept in the target's millrace.journal");
  set_example(*drop_command,
              "millrace letters drop -c shop.yaml --key public.customers 41 --why 'test data'");
}

}  // namespace millrace::cli
