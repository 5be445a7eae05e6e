#include "relay/admin/metrics.h"

#include <doctest/doctest.h>

#include "tests/unit/admin/sample_status.h"

using namespace millrace;
using namespace millrace::pipeline;

namespace {

bool has(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("metrics_text: one line a series") {
  const std::string text = admin::metrics_text(sample_status());
  CHECK(has(text, "# TYPE millrace_lag_seconds gauge"));
  CHECK(has(text, "millrace_lag_seconds{pipeline=\"shop\"} 1.25"));
  CHECK(has(text, "millrace_health{pipeline=\"shop\",state=\"blocked\"} 1"));
  CHECK(has(text, "millrace_health{pipeline=\"shop\",state=\"ok\"} 0"));
  CHECK(has(text, "# TYPE millrace_rows_total counter"));
  CHECK(has(text, "millrace_rows_total{pipeline=\"shop\",stage=\"applied\"} 4"));
  CHECK(has(text, "millrace_slot_retained_wal_bytes{pipeline=\"shop\"} 1234"));
  CHECK(has(text,
            "millrace_verify_differences{pipeline=\"shop\",table=\"public.a\",kind=\"rows\"} 2"));
  CHECK(
      has(text, "millrace_verify_undecided{pipeline=\"shop\",table=\"public.a\",kind=\"rows\"} 0"));
  CHECK(text.find("millrace_verify_last_timestamp_seconds{pipeline=\"shop\",table=\"public.a\"") !=
        std::string::npos);
  CHECK(has(text, "millrace_slot_wal_status{pipeline=\"shop\",status=\"reserved\"} 1"));
}

TEST_CASE("metrics_text: what is unknown is left out") {
  StatusSnapshot status;
  status.pipeline = "shop";
  const std::string text = admin::metrics_text(status);
  CHECK(text.find("millrace_lag_") == std::string::npos);
  CHECK(text.find("millrace_slot_") == std::string::npos);
  CHECK(text.find("millrace_last_error") == std::string::npos);
  CHECK(text.find("stage=\"received\"") == std::string::npos);
}
