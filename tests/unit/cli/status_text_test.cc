#include "relay/cli/status_text.h"

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::cli;
using namespace millrace::pipeline;

TEST_CASE("human_bytes and human_seconds") {
  CHECK(human_bytes(0) == "0 bytes");
  CHECK(human_bytes(1023) == "1023 bytes");
  CHECK(human_bytes(1536) == "1.5 KB");
  CHECK(human_bytes(20ull << 30) == "20.0 GB");
  CHECK(human_seconds(0) == "0.00 s");
  CHECK(human_seconds(59.99) == "59.99 s");
  CHECK(human_seconds(200) == "3 min 20 s");
  CHECK(human_seconds(7500) == "2 h 5 min");
}

TEST_CASE("key_text: as the errors of the target have it") {
  CHECK(key_text({{"id", "41"}}) == "(id)=(41)");
  CHECK(key_text({{"K ey", ""}, {"b", "x\ny"}}) == "(\"K ey\", b)=(, x y)");
}

TEST_CASE("status_text: health and why come first") {
  StatusSnapshot status;
  status.pipeline = "shop";
  status.role = "all";
  status.health = {HealthState::blocked, "apply: connection refused"};
  status.positions.applied =
      StagePosition{Lsn{0x1600000010}, "1:16/8", TimeMicros{1763632800000000}};
  status.lag = {1536, 1.25};
  status.slot = SlotStatus{"millrace_shop", true, 2048, 4096, "reserved"};
  const std::string text = status_text(status);
  CHECK(text.starts_with("shop: blocked (apply: connection refused)\n"));
  CHECK(text.find("lag        1.25 s, 1.5 KB of WAL\n") != std::string::npos);
  CHECK(text.find("  applied      16/10               committed 2025-11-20T10:00:00.000000Z\n") !=
        std::string::npos);
  CHECK(text.find("slot       millrace_shop, active, retains 2.0 KB of 4.0 KB WAL, reserved\n") !=
        std::string::npos);
}

TEST_CASE("status_text: which entry of the schedule waits for which") {
  StatusSnapshot status;
  status.verify.state = "running";
  status.verify.entry = "rows every 1d";
  status.verify.next = {{"counts every 10m", TimeMicros{1763632800000000}},
                        {"drift every 6h", TimeMicros{7258118400000000}}};
  CHECK(status_text(status).find("verify     running: rows every 1d\n"
                                 "  then     counts every 10m, waits for rows every 1d\n"
                                 "  then     drift every 6h, at 2200-01-01T00:00:00Z\n") !=
        std::string::npos);
  status.verify.state = "waiting";
  status.verify.entry.clear();
  CHECK(status_text(status).find("  then     counts every 10m, at 2025-11-20T10:00:00Z\n") !=
        std::string::npos);
}

TEST_CASE("status_text: what is unknown is not shown as zero") {
  StatusSnapshot status;
  status.pipeline = "shop";
  status.running = false;
  const std::string text = status_text(status);
  CHECK(text.find("lag        unknown\n") != std::string::npos);
  CHECK(text.find("no position is known yet") != std::string::npos);
  CHECK(text.find("rates") == std::string::npos);
}

TEST_CASE("status_text: what a server said can not move the cursor") {
  StatusSnapshot status;
  status.health.why = "a\x1b[2J\nshop: ok";
  for (const char c : status_text(status)) {
    const bool control = static_cast<unsigned char>(c) < 0x20 && c != '\n';
    CHECK_FALSE(control);
  }
  CHECK(status_text(status).find("\nshop: ok") == std::string::npos);
}
