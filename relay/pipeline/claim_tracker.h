// ClaimTracker: which manifests of the manifest topic are valid, read in offset order.
//
// A manifest is valid when its token is the offset of the latest claim before it. A reader that
// begins in the middle knows that claim from a manifest it has already trusted (trust); one that
// begins at a topic whose head retention has removed takes the highest token seen, until it meets a
// claim. One thread.
#pragma once

#include "relay/event/manifest.h"

namespace millrace::pipeline {

class ClaimTracker {
 public:
  // The entry just before the ones that follow was a valid manifest with this token.
  void trust(Token token) {
    latest_ = token;
    exact_ = true;
  }
  void on_claim(LogOffset offset) { trust(Token{offset}); }
  bool valid(const Manifest& manifest) {
    if (exact_) return manifest.token == latest_;
    if (manifest.token.value < latest_.value) return false;
    latest_ = manifest.token;
    return true;
  }

 private:
  Token latest_;
  bool exact_ = false;
};

}  // namespace millrace::pipeline
