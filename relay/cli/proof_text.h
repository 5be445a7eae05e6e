// proof_text: what verify found as Proofs, and Proofs for people and scripts. Pure functions.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "relay/cli/verify_text.h"
#include "relay/event/proof.h"
#include "relay/pipeline/status.h"

namespace millrace::cli {

Proof proof_of(const VerifyHead& head, const chunk::TableReport& table, uint32_t epoch);
// `at`: where the target stood when it was asked.
Proof proof_of(const VerifyHead& head, const InvariantReport& invariant, Lsn at, uint32_t epoch);

pipeline::ProofStatus status_of(const Proof& proof);

// `millrace verify --history`, newest first.
std::string proofs_text(std::span<const Proof> proofs);
std::string proofs_json(std::span<const Proof> proofs);

}  // namespace millrace::cli
