// verify_command: one comparison of source and target as `millrace verify` runs it, for that
// command and for those that verify what they did.
//
// It changes no row of the tables, and prints nothing but progress. Blocks; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "relay/base/result.h"
#include "relay/chunk/verify_plan.h"
#include "relay/cli/verify_text.h"
#include "relay/cli/wiring.h"
#include "relay/config/config.h"

namespace millrace::cli {

struct VerifyArguments {
  std::vector<std::string> tables;  // of the source; empty: all
  bool json = false;
  chunk::Compared compared = chunk::Compared::rows;
  std::string after, until;  // keys of the one table; empty: from its first, to its last
  uint64_t by_range = 1;
  bool values = false;
  bool invariants = true;
  bool only_invariants = false;
  std::string report;
  std::string sample = "100%";
  std::optional<uint64_t> seed;
  double wait_s = 60;
  double max_rate = 0;
  int rounds = 12;
  uint64_t chunk_rows = 5000;
  uint64_t list = 1000;
  std::string who;  // for the history; empty: person()
  // For verify.schedule: smaller steps, nothing on the terminal, gives way to who waits for its
  // locks; leaves out what is being copied, and what `proven` names.
  bool beside_stream = false;
  std::set<std::string> proven;
};

struct VerifyResult {
  VerifyOutcome outcome = VerifyOutcome::undecided;
  std::string json, text;             // the report
  std::string summary;                // what differs, or could not be decided
  std::string way_out;                // what to do about what differs
  bool compared = false;              // any row of any table
  std::vector<std::string> subjects;  // tables and invariants that were looked at
  std::vector<std::string> left_out;  // … and that `proven` named
  bool is_copying = false;            // … and that are being copied were left out
};

// Keeps what it proved in the target's history; a failure of that is a warning. Errors: the
// connections'; config for a table that is not in the pipeline; cancelled.
Result<VerifyResult> run_verify(const config::Config& config, const VerifyArguments& arguments,
                                std::stop_token stop);

// Of what decides a table's rows in the target: a report speaks of one mapping.
std::string mapping_hash(const sink::TableMapping& mapping);

// Where the target stands. Errors: bad_data when nothing was applied; refused when it was made from
// another cluster than `catalog`'s, which is connected.
Result<sink::Applied> applied_of(const config::Config& config, source::Catalog& catalog,
                                 sink::Target& target);

}  // namespace millrace::cli
