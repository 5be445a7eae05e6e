#include "connectors/postgres/applier_lock.h"

#include <fmt/format.h>

#include "relay/base/logging.h"

namespace millrace::postgres {
namespace {

constexpr const char* kKey = "hashtextextended('millrace applier ' || $1::text, 0)";

}  // namespace

Status take_applier_lock(Connection& connection, const std::string& pipeline, const Session& own) {
  const Reply taken =
      connection.run(fmt::format("SELECT pg_try_advisory_lock({})", kKey), {pipeline});
  if (!taken.ok()) return fail(to_error(connection, taken, "taking the applier lock"));
  if (taken.text(0, 0) == "t") return {};
  const Reply holder = connection.run(
      fmt::format(
          "SELECT a.pid, a.backend_start, a.application_name, coalesce(host(a.client_addr), "
          "'local'), coalesce(a.state, 'unknown') FROM pg_locks l JOIN pg_stat_activity a "
          "USING (pid) WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND "
          "l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
          "AND (l.classid::int8 << 32 | l.objid::int8) = {}",
          kKey),
      {pipeline});
  if (!holder.ok()) return fail(to_error(connection, holder, "asking who holds the applier lock"));
  if (holder.rows() == 0) {
    return fail(ErrorCode::refused, "another session held the applier lock a moment ago");
  }
  const std::string pid(holder.text(0, 0));
  if (Session{std::stoi(pid), std::string(holder.text(0, 1))} == own) {
    logging::warn("the target still keeps our lost session; it is ended", {{"pid", pid}});
    const Reply ended = connection.run("SELECT pg_terminate_backend($1::int)", {pid});
    if (!ended.ok()) return fail(to_error(connection, ended, "ending our lost session"));
  }
  return fail(
      ErrorCode::refused,
      fmt::format("another instance applies pipeline {}: session {} of the target (application {}, "
                  "from {}, since {}, {}) holds the applier lock",
                  pipeline, pid, holder.text(0, 2), holder.text(0, 3),
                  holder.is_null(0, 1) ? "unknown" : holder.text(0, 1), holder.text(0, 4)),
      fmt::format("stop it; if it hangs or is gone, end its session on the target with `select "
                  "pg_terminate_backend({})`",
                  pid));
}

}  // namespace millrace::postgres
