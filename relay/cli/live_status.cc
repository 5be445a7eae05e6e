#include "relay/cli/live_status.h"

#include <algorithm>

#include "connectors/postgres/proofs.h"
#include "relay/admin/server.h"
#include "relay/cli/proof_text.h"
#include "relay/cli/wiring.h"

namespace millrace::cli {
namespace {

using pipeline::StatusSnapshot;

constexpr int kShownDays = 400;

Status ask_source(const config::Config& config, StatusSnapshot& status, Lsn& end) {
  source::Catalog catalog(source_options(config));
  TRY_ASSIGN(end, catalog.flush_lsn());
  TRY_ASSIGN(const auto slot, catalog.slot(config.source.slot));
  if (!slot) return {};
  pipeline::SlotStatus out;
  out.name = slot->name;
  out.active = slot->active;
  out.retained_wal_bytes = slot->retained_bytes;
  out.max_retained_wal_bytes = config.source.max_retained_wal;
  out.wal_status = slot->wal_status;
  status.slot = out;
  if (slot->confirmed_flush_lsn) {
    status.positions.acknowledged = pipeline::StagePosition{slot->confirmed_flush_lsn, "", {}};
  }
  return {};
}

Status ask_target(const config::Config& config, StatusSnapshot& status) {
  TRY_ASSIGN(const auto target, make_target(config, nullptr));
  TRY_ASSIGN(const auto applied, target->applied());
  if (!applied) return {};
  const Watermark& at = applied->watermark;
  pipeline::StagePosition out{at.end_lsn, "", at.commit_time};
  if (at.commit_lsn) out.position = std::to_string(at.timeline) + ":" + to_string(at.commit_lsn);
  status.positions.applied = out;
  // Before set-up there is no history, and that is no fault.
  if (const auto proofs = postgres::Proofs(target_options(config, nullptr)).latest(kShownDays)) {
    const TimeMicros now = system_clock().wall();
    for (const Proof& proof : *proofs) {
      pipeline::ProofStatus one = status_of(proof);
      one.age_s = static_cast<double>(now.value - one.at.value) / 1e6;
      status.verify.proofs.push_back(std::move(one));
    }
  }
  if (sink::LetterBox* letters = target->letters()) {
    TRY_ASSIGN(const auto parked, letters->parked_keys());
    if (parked) status.parked = parked->size();
  }
  return {};
}

}  // namespace

// The address file says which port was chosen; without it, the config's.
Result<StatusSnapshot> process_status(const config::Config& config) {
  if (!config.admin.enabled) return fail(ErrorCode::retryable, "admin.listen is off");
  admin::Address address{config.admin.host, config.admin.port};
  if (auto written = admin::read_address_file(config.state + "/admin.address")) {
    address = *written;
  } else if (config.admin.port == 0) {
    return fail(std::move(written).error());
  }
  TRY_ASSIGN(auto status,
             admin::fetch_status(address.host, address.port, config.admin.token.reveal()));
  if (status.pipeline != config.pipeline) {
    return fail(ErrorCode::retryable,
                "pipeline " + status.pipeline + " listens where this one would (admin.listen)");
  }
  return status;
}

Result<StatusSnapshot> live_status(const config::Config& config) {
  auto asked = process_status(config);
  if (asked || asked.error().code() == ErrorCode::refused) return asked;

  StatusSnapshot status;
  status.pipeline = config.pipeline;
  status.running = false;
  std::string why = asked.error().message();
  Lsn end;
  if (auto source = ask_source(config, status, end); !source) {
    why += "; source: " + source.error().describe();
  } else if (!status.slot) {
    why += "; slot " + config.source.slot + " does not exist (millrace setup makes it)";
  } else if (status.slot->active) {
    // A process elsewhere, or one without an admin port: all that can be said is that it reads.
    why += "; but a process reads slot " + config.source.slot;
  }
  if (auto target = ask_target(config, status); !target) {
    why += "; target: " + target.error().describe();
  }
  if (end && status.positions.applied) {
    const uint64_t applied = status.positions.applied->lsn.value;
    status.lag.bytes = end.value > applied ? end.value - applied : 0;
  }
  const bool read_elsewhere = status.slot && status.slot->active;
  status.health.state = read_elsewhere ? pipeline::HealthState::ok : pipeline::HealthState::stopped;
  status.health.why = std::move(why);
  return status;
}

}  // namespace millrace::cli
