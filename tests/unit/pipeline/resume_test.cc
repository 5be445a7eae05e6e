#include "relay/pipeline/resume.h"

#include <doctest/doctest.h>

namespace millrace::pipeline {
namespace {

StreamFacts facts_at(uint64_t slot_confirmed) {
  StreamFacts facts;
  facts.pipeline = "shop";
  facts.slot = "millrace_shop";
  facts.system_identifier = "42";
  facts.timeline = 1;
  facts.slot_confirmed = Lsn{slot_confirmed};
  return facts;
}

Manifest manifest_up_to(uint64_t end) {
  Manifest manifest;
  manifest.system_identifier = "42";
  manifest.last = Watermark{1, Lsn{end}, Lsn{end - 8}, TimeMicros{}};
  return manifest;
}

TEST_CASE("decide_resume: goes on behind the last manifest") {
  auto facts = facts_at(100);
  facts.published = manifest_up_to(200);
  const auto point = decide_resume(facts);
  REQUIRE(point);
  CHECK(point->watermark.end_lsn == Lsn{200});
  CHECK_FALSE(point->announce);
}

TEST_CASE("decide_resume: a slot that forgot exactly what the log holds is ours") {
  auto facts = facts_at(200);
  facts.published = manifest_up_to(200);
  CHECK(decide_resume(facts));
}

TEST_CASE("decide_resume: a slot past the log is refused, naming both and the way out") {
  auto facts = facts_at(201);
  facts.published = manifest_up_to(200);
  const auto point = decide_resume(facts);
  REQUIRE_FALSE(point);
  CHECK(point.error().code() == ErrorCode::refused);
  CHECK(point.error().describe().find("0/C9") != std::string::npos);
  CHECK(point.error().describe().find("0/C8") != std::string::npos);
  CHECK(point.error().describe().find("teardown") != std::string::npos);
}

TEST_CASE("decide_resume: an old copy of the log goes on where the target covers the slot") {
  auto facts = facts_at(300);
  facts.published = manifest_up_to(200);
  facts.target_known = true;
  facts.applied = Watermark{1, Lsn{300}, Lsn{290}, TimeMicros{}};
  const auto point = decide_resume(facts);
  REQUIRE(point);
  CHECK(point->watermark.end_lsn == Lsn{300});
  CHECK(point->announce);
  CHECK_FALSE(point->origin);
  facts.applied->end_lsn = Lsn{299};
  CHECK_FALSE(decide_resume(facts));
}

TEST_CASE("decide_resume: a lost log goes on from the slot when the target covers it") {
  auto facts = facts_at(300);
  facts.target_known = true;
  facts.applied = Watermark{1, Lsn{400}, Lsn{390}, TimeMicros{}};
  const auto point = decide_resume(facts);
  REQUIRE(point);
  CHECK(point->watermark.end_lsn == Lsn{300});
  CHECK_FALSE(point->origin);
}

TEST_CASE("decide_resume: a lost log behind a target that does not cover the slot is a gap") {
  auto facts = facts_at(300);
  facts.target_known = true;
  facts.applied = Watermark{1, Lsn{250}, Lsn{240}, TimeMicros{}};
  CHECK_FALSE(decide_resume(facts));
}

TEST_CASE("decide_resume: nothing anywhere is the origin of a stream") {
  auto facts = facts_at(300);
  facts.target_known = true;
  const auto point = decide_resume(facts);
  REQUIRE(point);
  CHECK(point->origin);
  CHECK(point->announce);
}

TEST_CASE("decide_resume: an empty log without a target to ask is refused") {
  CHECK_FALSE(decide_resume(facts_at(300)));
}

TEST_CASE("decide_resume: another cluster or timeline is refused") {
  auto facts = facts_at(100);
  facts.published = manifest_up_to(200);
  facts.system_identifier = "43";
  CHECK_FALSE(decide_resume(facts));
  facts.system_identifier = "42";
  facts.timeline = 2;
  CHECK_FALSE(decide_resume(facts));
}

}  // namespace
}  // namespace millrace::pipeline
