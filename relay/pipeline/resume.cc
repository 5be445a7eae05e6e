#include "relay/pipeline/resume.h"

namespace millrace::pipeline {
namespace {

std::string start_afresh(const StreamFacts& facts) {
  return "to start again from a fresh copy: `millrace teardown -c FILE` and `millrace setup -c "
         "FILE` (pipeline " +
         facts.pipeline + ")";
}

Error other_cluster(const StreamFacts& facts, const std::string& theirs) {
  return Error(
      ErrorCode::refused,
      "the source is another database cluster than the one that the log was made from (system "
      "identifier " +
          facts.system_identifier + ", not " + theirs + ")",
      "point source.dsn at the old cluster, or " + start_afresh(facts));
}

Error forgotten(const StreamFacts& facts, const std::string& known, Lsn reached) {
  return Error(ErrorCode::refused,
               "slot " + facts.slot + " has forgotten changes up to " +
                   to_string(facts.slot_confirmed) + ", but " + known + " ends at " +
                   to_string(reached) +
                   ": it was recreated or advanced by somebody else, and what lies between is lost "
                   "to this stream",
               start_afresh(facts));
}

Status check_published(const StreamFacts& facts) {
  const Manifest& manifest = *facts.published;
  if (manifest.system_identifier != facts.system_identifier) {
    return fail(other_cluster(facts, manifest.system_identifier));
  }
  if (manifest.last.timeline != facts.timeline) {
    return fail(ErrorCode::refused,
                "the source is on timeline " + std::to_string(facts.timeline) + ", the log on " +
                    std::to_string(manifest.last.timeline) +
                    ": after a failover the same numbers may name other changes",
                start_afresh(facts));
  }
  return {};
}

}  // namespace

Result<ResumePoint> decide_resume(const StreamFacts& facts) {
  const Watermark at_slot{facts.timeline, facts.slot_confirmed, Lsn{}, TimeMicros{}};
  const bool target_covers_slot = facts.applied && facts.applied->timeline == facts.timeline &&
                                  facts.applied->end_lsn >= facts.slot_confirmed;
  if (facts.published) {
    TRY(check_published(facts));
    const Watermark& last = facts.published->last;
    if (facts.slot_confirmed <= last.end_lsn) return ResumePoint{last, false, false};
    // An old copy of the log's folder: the target has what the slot forgot.
    if (target_covers_slot) return ResumePoint{at_slot, true, false};
    return fail(forgotten(facts, "the log", last.end_lsn));
  }
  // The log is empty: new, or lost with its folder.
  if (facts.applied) {
    if (target_covers_slot) return ResumePoint{at_slot, true, false};
    return fail(forgotten(facts, "the target (the log is empty)", facts.applied->end_lsn));
  }
  if (facts.target_known) return ResumePoint{at_slot, true, true};
  return fail(
      ErrorCode::refused,
      "slot " + facts.slot + " exists, but the log " +
          "holds nothing of this pipeline: its topics were removed, or set-up did not finish",
      start_afresh(facts));
}

}  // namespace millrace::pipeline
