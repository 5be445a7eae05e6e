#include "relay/cli/status_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "relay/base/clock.h"
#include "relay/event/table_schema.h"

namespace millrace::cli {
namespace {

using pipeline::StatusSnapshot;

std::string positions_text(const pipeline::Positions& positions) {
  const std::array<std::pair<const char*, const std::optional<pipeline::StagePosition>*>, 4> stages{
      {
          {"received", &positions.received},
          {"published", &positions.published},
          {"acknowledged", &positions.acknowledged},
          {"applied", &positions.applied},
      }};
  std::string out;
  for (const auto& [name, stage] : stages) {
    if (!*stage) continue;
    out += fmt::format("  {:<13}{:<20}", name, to_string((*stage)->lsn));
    if ((*stage)->at.value != 0) out += "committed " + to_string((*stage)->at);
    while (out.ends_with(' ')) out.pop_back();
    out += "\n";
  }
  return out.empty() ? "  no position is known yet\n" : out;
}

std::string slot_text(const pipeline::SlotStatus& slot) {
  std::string out =
      fmt::format("slot       {}, {}", slot.name, slot.active ? "active" : "not read");
  if (slot.retained_wal_bytes) {
    out += fmt::format(", retains {} of {} WAL", human_bytes(*slot.retained_wal_bytes),
                       human_bytes(slot.max_retained_wal_bytes));
  }
  if (!slot.wal_status.empty()) out += ", " + slot.wal_status;
  return out + "\n";
}

std::string lag_text(const pipeline::Lag& lag) {
  if (!lag.bytes && !lag.seconds) return "lag        unknown\n";
  std::string out = "lag        ";
  if (lag.seconds) out += human_seconds(*lag.seconds);
  if (lag.bytes) out += (lag.seconds ? ", " : "") + human_bytes(*lag.bytes) + " of WAL";
  return out + "\n";
}

std::string backfill_text(const pipeline::BackfillStatus& backfill) {
  std::string out = "backfill   " + printable(backfill.state + " " + backfill.table);
  if (backfill.percent) out += fmt::format(", {:.1f} %", *backfill.percent);
  if (backfill.rows_per_s) out += fmt::format(", {:.0f} rows/s", *backfill.rows_per_s);
  if (backfill.eta_s) out += ", " + human_seconds(*backfill.eta_s) + " to go";
  if (!backfill.why.empty()) out += ": " + printable(backfill.why);
  if (backfill.state == "paused") out += "; " + resume_command(backfill.table);
  return out + "\n";
}

std::string verify_text(const pipeline::VerifyStatus& verify) {
  std::string out;
  if (verify.state != "none") {
    out =
        "verify     " + printable(verify.state + (verify.entry.empty() ? "" : ": ") + verify.entry);
    if (!verify.why.empty()) out += " (" + printable(verify.why) + ")";
    out += "\n";
  }
  for (const pipeline::VerifyStatus::Next& one : verify.next) {
    const bool waits = verify.state == "running" && one.due < system_clock().wall();
    out += "  then     " + printable(one.entry);
    if (waits) {
      out += ", waits for " + printable(verify.entry);
    } else if (one.due.value != 0) {
      out += ", at " + to_string(one.due).substr(0, 19) + "Z";
    }
    out += "\n";
  }
  for (const pipeline::ProofStatus& proof : verify.proofs) {
    out += fmt::format("proof      {} {}: {} at {}, {} ago, {} compared", printable(proof.table),
                       proof.kind, proof.verdict, proof.position, human_seconds(proof.age_s),
                       proof.compared);
    if (proof.differences > 0) out += fmt::format(", {} different", proof.differences);
    if (proof.unresolved > 0) out += fmt::format(", {} unresolved", proof.unresolved);
    if (!proof.why.empty()) out += " (" + printable(proof.why) + ")";
    out += "\n";
  }
  return out;
}

}  // namespace

std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

std::string key_text(const NamedKey& key) {
  std::string columns, values;
  for (const auto& [column, value] : key) {
    columns += (columns.empty() ? "" : ", ") + quote_if_needed(column);
    if (&value != &key.front().second) values += ", ";
    values += value;
  }
  return printable("(" + columns + ")=(" + values + ")");
}

std::string shell_word(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-' || c == '/';
  });
  if (plain) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string resume_command(const std::string& table) {
  return "`millrace backfill resume --table " + shell_word(table) + "`";
}

std::string human_bytes(uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits{"bytes", "KB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} {}", bytes, kUnits[0])
                   : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds < 60) return fmt::format("{:.2f} s", seconds);
  const auto whole = static_cast<uint64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
}

std::string status_text(const StatusSnapshot& status) {
  std::string out =
      fmt::format("{}: {}", status.pipeline, pipeline::to_string(status.health.state));
  if (!status.health.why.empty()) out += " (" + printable(status.health.why) + ")";
  out += "\n";
  if (status.running) {
    out += fmt::format("process    role {}, up {}, {} of memory\n", status.role,
                       human_seconds(status.uptime_s), human_bytes(status.memory_bytes));
    out += fmt::format(
        "rates      {:.0f} rows/s, {:.0f} transactions/s applied; {:.0f} rows/s published\n",
        status.rates.applied_rows_per_s, status.rates.applied_transactions_per_s,
        status.rates.published_rows_per_s);
    out += fmt::format("total      {} rows, {} transactions applied\n", status.totals.applied_rows,
                       status.totals.applied_transactions);
  }
  out += lag_text(status.lag) + "positions\n" + positions_text(status.positions);
  if (status.slot) out += slot_text(*status.slot);
  if (status.backfill.state != "none") {
    out += backfill_text(status.backfill);
  }
  out += verify_text(status.verify);
  if (status.parked > 0) out += fmt::format("parked     {} rows\n", status.parked);
  if (status.last_error) {
    out += fmt::format("last error {} ago: {}\n", human_seconds(status.last_error->age_s),
                       printable(status.last_error->message));
  }
  return out;
}

}  // namespace millrace::cli
