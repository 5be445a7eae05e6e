// PostgresTarget, the part that sets up and tears down.
#include <algorithm>
#include <optional>
#include <utility>

#include "connectors/postgres/postgres_target.h"
#include "connectors/postgres/setup.h"

namespace millrace::postgres {
namespace {

// It stands on a schema or table that was denied a moment ago.
bool lacks_denied(const Reply& reply) {
  return reply.sqlstate() == "3F000" || reply.sqlstate() == "42P01";
}

void add_once(std::vector<std::string>& list, const std::string& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

std::string joined(const std::vector<std::string>& statements) {
  std::string out;
  for (const std::string& statement : statements) out += (out.empty() ? "" : "; ") + statement;
  return out;
}

}  // namespace

Status PostgresTarget::setup(std::span<const TableSchemaPtr> source_tables, std::string* print) {
  return run_locked(print, true, source_tables);
}

Status PostgresTarget::teardown(std::string* print) { return run_locked(print, false, {}); }

// Looks and acts under one lock, so that two that set up at once do not both find something
// missing.
Status PostgresTarget::run_locked(std::string* print, bool setting_up,
                                  std::span<const TableSchemaPtr> source_tables) {
  TRY(connect());
  writer_->forget();
  if (print == nullptr) {
    const Reply lock =
        connection_->run("BEGIN; SELECT pg_advisory_xact_lock(hashtext('millrace setup'))");
    if (!lock.ok()) return give_up(to_error(*connection_, lock, "locking the set-up"));
  }
  const auto steps = setting_up ? setup_steps(*connection_, options_, *known_, source_tables)
                                : teardown_steps(*connection_, options_);
  if (!steps) return give_up(steps.error());
  if (print != nullptr) {
    for (const SetupStep& step : *steps) print->append(step.sql).append(";\n");
    return {};
  }
  TRY(run_steps(*steps, setting_up ? "setting up the target" : "tearing down"));
  if (!steps->empty()) known_->forget();
  const Reply done = connection_->run("COMMIT");
  if (!done.ok()) return give_up(to_error(*connection_, done, "committing the set-up"));
  return {};
}

// All or nothing; what the role may not do is named at once, not step by step.
Status PostgresTarget::run_steps(std::span<const SetupStep> steps, std::string_view doing) {
  std::optional<Error> denied;
  std::vector<std::string> remedy;
  for (const SetupStep& step : steps) {
    const Reply reply = connection_->run("SAVEPOINT millrace_step; " + step.sql +
                                         "; RELEASE SAVEPOINT millrace_step");
    if (reply.ok()) continue;
    const bool lacks_right = reply.sqlstate() == "42501";
    if (!lacks_right && !(denied && lacks_denied(reply))) {
      return give_up(to_error(*connection_, reply, doing).with_hint("it ran: " + step.sql));
    }
    if (lacks_right) {
      if (!denied) denied = to_error(*connection_, reply, doing);
      add_once(remedy, step.grant.empty() ? step.sql : step.grant);
    }
    const Reply back = connection_->run("ROLLBACK TO SAVEPOINT millrace_step");
    if (!back.ok()) return give_up(to_error(*connection_, back, doing));
  }
  if (!denied) return {};
  return give_up(std::move(*denied).with_hint(
      "let a privileged role run this, then repeat the command: " + joined(remedy)));
}

}  // namespace millrace::postgres
