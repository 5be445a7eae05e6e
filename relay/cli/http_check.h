// HttpCheck: a URL that says whether a copy may go on, asked every few seconds while somebody
// wants to know.
//
// 2xx says go on, unless its body is a JSON object with "hold": true ("why": a text that is shown).
// Anything else holds: another status (redirects are not followed), an error, no answer in time.
// Invariant: reason() never waits, so neither does a stop; an answer counts for a bounded time
// only, and without one that counts the answer is to hold. The URL is never shown: it may have a
// secret in it. Any thread; the asking has a thread of its own.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "relay/base/clock.h"

namespace millrace::cli {

struct HttpCheckOptions {
  std::string url;          // as config::rules::http_url takes it
  Millis every{2000};       // between an answer and the next question
  Millis timeout{3000};     // of connecting, and of each wait for the answer
  Millis wanted_for{5000};  // so long after reason() it goes on asking
};

class HttpCheck {
 public:
  explicit HttpCheck(HttpCheckOptions options);
  // A question that is on its way is not waited for: its thread ends by itself, with it.
  ~HttpCheck();
  HttpCheck(const HttpCheck&) = delete;
  HttpCheck& operator=(const HttpCheck&) = delete;

  // Why to hold back, in words; empty: go on.
  std::string reason();

 private:
  struct Shared;
  static void run(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_;  // the thread's too, which may outlive this
};

// What an answer says; empty: go on.
std::string reason_of_answer(int status, std::string_view body);

}  // namespace millrace::cli
