#include "relay/pipeline/claim_tracker.h"

#include <doctest/doctest.h>

namespace millrace::pipeline {
namespace {

Manifest with_token(LogOffset token) {
  Manifest manifest;
  manifest.token = Token{token};
  return manifest;
}

TEST_CASE("ClaimTracker: a manifest of an earlier claim is void, whenever it arrives") {
  ClaimTracker claims;
  claims.on_claim(0);
  CHECK(claims.valid(with_token(0)));
  claims.on_claim(5);
  CHECK(claims.valid(with_token(5)));
  CHECK_FALSE(claims.valid(with_token(0)));
  CHECK(claims.valid(with_token(5)));
}

TEST_CASE("ClaimTracker: begun behind the claim, the highest token counts until a claim is met") {
  ClaimTracker claims;
  CHECK(claims.valid(with_token(7)));
  CHECK_FALSE(claims.valid(with_token(3)));
  CHECK(claims.valid(with_token(9)));
  CHECK_FALSE(claims.valid(with_token(7)));
  claims.on_claim(20);
  CHECK_FALSE(claims.valid(with_token(9)));
  CHECK_FALSE(claims.valid(with_token(21)));
  CHECK(claims.valid(with_token(20)));
}

}  // namespace
}  // namespace millrace::pipeline
