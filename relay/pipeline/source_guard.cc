#include "relay/pipeline/source_guard.h"

#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "relay/base/logging.h"

namespace millrace::pipeline {
namespace {

constexpr Millis kDropRetry{200};
constexpr const char* kFreshCopy =
    "start again from a fresh copy: `millrace teardown`, then `millrace setup`";

std::string megabytes(uint64_t bytes) { return fmt::format("{} MB", bytes >> 20U); }

std::string over(const source::SlotInfo& slot, const RetainedWalLimit& limit) {
  return fmt::format("slot {} holds back {} of WAL, more than source.max_retained_wal ({})",
                     slot.name, megabytes(slot.retained_bytes), megabytes(limit.bytes));
}

}  // namespace

Error publication_is_gone(const std::string& publication) {
  return Error(
      ErrorCode::refused,
      "publication " + publication +
          " does not exist any more: changes committed since it was dropped are not delivered",
      kFreshCopy);
}

Error slot_is_lost(const source::SlotInfo& slot) {
  return Error(
      ErrorCode::refused,
      fmt::format("slot {} is lost (wal_status {}{}): the source has removed WAL that this stream "
                  "still needed, by max_slot_wal_keep_size",
                  slot.name, slot.wal_status.empty() ? "unknown" : slot.wal_status,
                  slot.invalidation_reason.empty() ? "" : ", " + slot.invalidation_reason),
      std::string(kFreshCopy) + "; then raise max_slot_wal_keep_size, or the alert before it");
}

Error too_much_retained(const source::SlotInfo& slot, const RetainedWalLimit& limit) {
  return Error(ErrorCode::bad_data,
               over(slot, limit) + ", and source.on_retained_wal is stop: capture reads no more",
               "end what holds it back (a target that is away, a transaction that is open for long "
               "at the source), or raise source.max_retained_wal and start again; the slot stays, "
               "and goes on keeping WAL: `millrace teardown` gives the stream up");
}

namespace {

Result<std::optional<Error>> look_for_gap(source::Catalog& catalog, const std::string& publication,
                                          std::span<const source::TableName> tables) {
  TRY_ASSIGN(const auto found, catalog.publication(publication));
  if (!found) return std::optional<Error>(publication_is_gone(publication));
  if (found->all_tables) return std::nullopt;
  std::vector<source::TableSelector> unpublished;
  for (const source::TableName& table : tables) {
    if (!found->publishes(table)) unpublished.push_back({table, false});
  }
  if (unpublished.empty()) return std::nullopt;
  TRY_ASSIGN(const auto there, catalog.tables(unpublished));
  std::string names;
  for (const source::SourceTable& table : there.tables) {
    names += (names.empty() ? "" : ", ") + display_name(table.name());
  }
  if (names.empty()) return std::nullopt;  // dropped with their rows: nothing more will come
  return std::optional<Error>(
      Error(ErrorCode::refused,
            fmt::format("publication {} does not publish {} any more: it was taken out, or the "
                        "table was dropped and created anew, and changes since then are not "
                        "delivered",
                        publication, names),
            fmt::format("{}; or take it out of `tables`; or, to go on without what was missed, "
                        "`millrace setup`, which publishes it again from now on",
                        kFreshCopy)));
}

}  // namespace

// Several questions, each with a snapshot of its own, and pg_publication_tables joins what two of
// them show: what is made anew meanwhile may seem to be left out. What is missing in truth is
// missing the next time, too.
Result<std::optional<Error>> publication_gap(source::Catalog& catalog,
                                             const std::string& publication,
                                             std::span<const source::TableName> tables) {
  TRY_ASSIGN(auto gap, look_for_gap(catalog, publication, tables));
  if (!gap) return gap;
  return look_for_gap(catalog, publication, tables);
}

Error give_up_slot(source::Catalog& catalog, const source::SlotInfo& slot,
                   const RetainedWalLimit& limit, Millis patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  Status dropped = catalog.drop_slot(slot.name);
  while (!dropped && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kDropRetry);
    dropped = catalog.drop_slot(slot.name);
  }
  if (!dropped) {
    return Error(ErrorCode::refused,
                 over(slot, limit) + ", and could not be dropped (on_retained_wal: drop_slot): " +
                     dropped.error().describe(),
                 "SELECT pg_drop_replication_slot('" + slot.name + "') on the source frees it");
  }
  logging::error("the slot was dropped to save the source",
                 {{"slot", slot.name},
                  {"retained_wal_bytes", slot.retained_bytes},
                  {"max_retained_wal_bytes", limit.bytes}});
  return Error(ErrorCode::refused,
               over(slot, limit) +
                   ": it was dropped to save the source (on_retained_wal: drop_slot), and this "
                   "stream is lost",
               kFreshCopy);
}

}  // namespace millrace::pipeline
