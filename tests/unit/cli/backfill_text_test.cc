#include "relay/cli/backfill_text.h"

#include <doctest/doctest.h>

#include "relay/cli/status_text.h"

using namespace millrace;
using namespace millrace::cli;
using sink::CopyJob;
using sink::JobState;

namespace {

CopyJob job_of(const std::string& table, JobState state, const std::string& why = "") {
  CopyJob job;
  job.id = 7;
  job.table = table;
  job.state = state;
  job.why = why;
  return job;
}

std::string line_of(const CopyJob& job, const LiveCopies& live) {
  const std::string text = jobs_text({&job, 1}, Lsn{}, live);
  return text.substr(0, text.find('\n'));
}

pipeline::BackfillStatus live_of(const std::string& state, const std::string& why) {
  pipeline::BackfillStatus live;
  live.state = state;
  live.table = "public.t";
  live.why = why;
  return live;
}

}  // namespace

TEST_CASE("jobs_text and status_text: one word and one reason for a copy") {
  pipeline::StatusSnapshot status;
  for (const auto& [state, live, why] :
       {std::tuple(JobState::waiting, "waiting", "it waits for transaction 5"),
        std::tuple(JobState::running, "throttled", "the target lags")}) {
    status.backfill = live_of(live, why);
    const std::string words = std::string(live) + ", 0 rows: " + why;
    CHECK(line_of(job_of("public.t", state), status.backfill) == "7 initial public.t: " + words);
    const std::string line = "backfill   " + std::string(live) + " public.t: " + why + "\n";
    CHECK(status_text(status).find(line) != std::string::npos);
  }
}

TEST_CASE("jobs_text and status_text: a paused copy names the command that lets it go on") {
  const std::string table = "public.\"it's\"";
  const std::string command = "; `millrace backfill resume --table 'public.\"it'\\''s\"'`";
  const std::string line = line_of(job_of(table, JobState::paused, "paused by me"), std::nullopt);
  CHECK(line == "7 initial " + table + ": paused, 0 rows: paused by me" + command);
  pipeline::StatusSnapshot status;
  status.backfill = live_of("paused", "paused by me");
  status.backfill.table = table;
  CHECK(status_text(status).find("paused " + table + ": paused by me" + command + "\n") !=
        std::string::npos);
}

TEST_CASE("jobs_text: a copy that does not move says why") {
  const CopyJob job = job_of("public.u", JobState::waiting);
  CHECK(line_of(job, std::nullopt)
            .ends_with(": no process that applies answers here: `millrace run`"));
  CHECK(line_of(job, live_of("running", ""))
            .ends_with("waiting, 0 rows: its turn has not come yet (parents first, "
                       "then backfill.parallel at a time)"));
  CHECK(line_of(job_of("public.t", JobState::done), live_of("running", "x"))
            .ends_with("done, 0 rows (100.0 %)"));
}

TEST_CASE("shell_word: what a shell would take apart is quoted") {
  CHECK(shell_word("public.t_1") == "public.t_1");
  CHECK(shell_word("public.\"T\"") == "'public.\"T\"'");
  CHECK(shell_word("") == "''");
}
