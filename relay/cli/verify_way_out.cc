#include "relay/cli/verify_way_out.h"

#include <algorithm>

#include <fmt/format.h>

#include "relay/cli/letters_text.h"
#include "relay/cli/status_text.h"

namespace millrace::cli {
namespace {

// Of the rows that the report lists.
uint64_t parked_of(const chunk::VerifyReport& report, const std::string& table,
                   const ParkedRows& parked) {
  return static_cast<uint64_t>(
      std::count_if(report.rows.begin(), report.rows.end(), [&](const chunk::RowReport& row) {
        return row.table == table && row.kind != "unresolved" &&
               parked.contains({table, key_text(row.key)});
      }));
}

}  // namespace

ParkedRows parked_rows(sink::Target& target) {
  ParkedRows out;
  if (target.letters() == nullptr) return out;
  const auto letters = target.letters()->list();
  if (!letters) return out;
  for (const sink::Letter& letter : *letters) out.emplace(letter.table, letter_key(letter));
  return out;
}

std::string verify_way_out(const chunk::VerifyReport& report,
                           const std::vector<InvariantReport>& invariants, const ParkedRows& parked,
                           const std::string& file) {
  bool repairs = false, has_extra = false;
  uint64_t waiting = 0;
  std::string out;
  const auto add = [&out](const std::string& text) { out += (out.empty() ? "" : "; ") + text; };
  for (const chunk::TableReport& table : report.tables) {
    if (!table.differs()) continue;
    if (!table.keyed) {
      add(
          fmt::format("{} has no key, so `millrace repair` can not mend it: let nobody write to "
                      "it, TRUNCATE {} in the target, and copy it by hand, as `pg_dump "
                      "--data-only -t {}` does",
                      table.table, table.target_table, shell_word(table.table)));
      continue;
    }
    const uint64_t rows = table.missing + table.extra + table.different;
    if (rows > kListMax) {
      add(
          fmt::format("`millrace backfill start --replace --table {}` brings the whole table over: "
                      "more of its rows differ than a report lists ({})",
                      shell_word(table.table), kListMax));
      continue;
    }
    const uint64_t here = parked_of(report, table.table, parked);
    waiting += here;
    has_extra = has_extra || table.extra > 0;
    repairs = repairs || rows > here;
  }
  if (waiting > 0) {
    add(
        fmt::format("{} of the rows are parked, and repair can not bring them over: `millrace "
                    "letters list` says why; mend that, and `millrace letters retry --all`",
                    waiting));
  }
  if (repairs) {
    const bool short_list = report.rows_left_out > 0;
    const bool has_file = !file.empty() && !short_list;
    add((short_list ? fmt::format("`millrace verify --list {} --report FILE` lists them all, and ",
                                  kListMax)
         : file.empty() ? "`millrace verify --report FILE` keeps the list, and "
                        : "") +
        fmt::format("`millrace repair --report {}` brings {} over again{}",
                    has_file ? shell_word(file) : "FILE", waiting > 0 ? "the others" : "these rows",
                    has_extra ? ", and deletes extra ones only with --delete-extra" : ""));
  }
  const bool violated = std::any_of(
      invariants.begin(), invariants.end(),
      [](const InvariantReport& one) { return !one.holds && one.why.empty() && one.rows > 0; });
  if (violated) add("stdout shows rows that speak against an invariant");
  return printable(out);
}

}  // namespace millrace::cli
