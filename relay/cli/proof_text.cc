#include "relay/cli/proof_text.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "relay/cli/status_text.h"

namespace millrace::cli {
namespace {

using nlohmann::ordered_json;

std::string position(uint32_t timeline, Lsn lsn) {
  return std::to_string(timeline) + ":" + to_string(lsn);
}

Proof begin_proof(const VerifyHead& head, uint32_t epoch) {
  Proof out;
  out.epoch = epoch;
  out.timeline = head.timeline;
  out.config_hash = head.config_hash;
  out.who = head.who;
  return out;
}

std::string kind_of(const VerifyHead& head) {
  if (head.kind == "keys") return "counts";
  return head.kind == "rows" && head.sample < 1 ? "sample" : head.kind;
}

ordered_json json_of(const Proof& proof) {
  return {{"kind", proof.kind},
          {"table", proof.subject},
          {"scope", proof.scope.empty() ? ordered_json(nullptr) : ordered_json(proof.scope)},
          {"verdict", proof.verdict},
          {"why", proof.why.empty() ? ordered_json(nullptr) : ordered_json(proof.why)},
          {"epoch", proof.epoch},
          {"position_from", position(proof.timeline, proof.from)},
          {"position", position(proof.timeline, proof.to)},
          {"config_hash", proof.config_hash},
          {"compared", proof.compared},
          {"equal", proof.equal},
          {"missing", proof.missing},
          {"extra", proof.extra},
          {"different", proof.different},
          {"unresolved", proof.unresolved},
          {"who", proof.who},
          {"started_at", to_string(proof.started_at)},
          {"ended_at", to_string(proof.ended_at)}};
}

}  // namespace

Proof proof_of(const VerifyHead& head, const chunk::TableReport& table, uint32_t epoch) {
  Proof out = begin_proof(head, epoch);
  out.kind = kind_of(head);
  out.subject = table.table;
  out.scope = head.scope;
  out.why = table.why;
  out.from = table.from;
  out.to = table.to;
  out.compared = table.compared;
  out.equal = table.equal;
  out.missing = table.missing;
  out.extra = table.extra;
  out.different = table.different;
  out.unresolved = table.unresolved;
  out.verdict = table.differs() ? "different" : table.undecided() ? "undecided" : "equal";
  out.started_at = table.started_at;
  out.ended_at = table.ended_at;
  return out;
}

Proof proof_of(const VerifyHead& head, const InvariantReport& invariant, Lsn at, uint32_t epoch) {
  Proof out = begin_proof(head, epoch);
  out.kind = "invariants";
  out.subject = invariant.name;
  out.why = invariant.why;
  out.from = out.to = at;
  out.different = invariant.rows;
  out.verdict = invariant.holds ? "equal" : invariant.why.empty() ? "different" : "undecided";
  out.started_at = invariant.started_at;
  out.ended_at = invariant.ended_at;
  return out;
}

pipeline::ProofStatus status_of(const Proof& proof) {
  pipeline::ProofStatus out;
  out.table = proof.subject;
  out.kind = proof.kind;
  out.verdict = proof.verdict;
  out.why = proof.why;
  out.position = position(proof.timeline, proof.to);
  out.at = proof.ended_at;
  out.compared = proof.compared;
  out.differences = proof.differences();
  out.unresolved = proof.unresolved;
  return out;
}

std::string proofs_text(std::span<const Proof> proofs) {
  if (proofs.empty()) return "nothing was proven yet: `millrace verify`, or verify.schedule\n";
  size_t width = 5;
  for (const Proof& proof : proofs) width = std::max(width, printable(proof.subject).size());
  std::string out =
      fmt::format("{:<20}  {:<10} {:<{}}  {:<9} {:<20} {:>11} {:>9} {:>10}\n", "ended at", "kind",
                  "table", width, "verdict", "position", "compared", "differ", "unresolved");
  for (const Proof& proof : proofs) {
    out += fmt::format("{:<20}  {:<10} {:<{}}  {:<9} {:<20} {:>11} {:>9} {:>10}",
                       to_string(proof.ended_at).substr(0, 19) + "Z", proof.kind,
                       printable(proof.subject), width, proof.verdict,
                       position(proof.timeline, proof.to), proof.compared, proof.differences(),
                       proof.unresolved);
    if (!proof.scope.empty()) out += "  " + printable(proof.scope);
    out += "\n";
    if (!proof.why.empty()) out += "  " + printable(proof.why) + "\n";
  }
  return out;
}

std::string proofs_json(std::span<const Proof> proofs) {
  ordered_json out = ordered_json::array();
  for (const Proof& proof : proofs) out.push_back(json_of(proof));
  return out.dump(2, ' ', true, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace millrace::cli
