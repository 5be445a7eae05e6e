"""365 The relay's wall clock jumps by an hour, forwards and back: waits, retries and time-outs go by the steady clock."""
import time

import pytest

from support.children import wait_until
from support.load import TABLES, Pgbench, TornStateOracle, init_tpcb, small_tpcb

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
ACCOUNTS = 1000


class Clock:
    """The relay's wall clock, by libfaketime; the steady one is left alone, as on a machine whose clock is set."""

    def __init__(self, folder):
        self.path = folder / "clock"
        self.set(0)
        self.env = {"LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(self.path), "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}

    def set(self, hours):
        fresh = self.path.with_suffix(".new")
        fresh.write_text(f"{hours:+d}h\n")
        fresh.rename(self.path)


@pytest.mark.fault(16)
@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_clock_jumps(world, recovery, kafka):
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    relay = world.relay(TABLES, kafka=kafka)
    relay.setup()
    clock = Clock(relay.folder)
    relay.start(env=clock.env, ready=True)
    oracle = TornStateOracle(world.target, pause_s=0.005).start()
    bench = Pgbench(world.source, seconds=1200, rate=200, script=small_tpcb(ACCOUNTS))
    for number, hours in enumerate([1, 0, -1, 0, 1, -1]):
        clock.set(hours)
        if number == 3:  # what is tried again must be so by the steady clock, too
            world.target.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s",
                                 (f"millrace {relay.name}",))
        end = world.source.one("select count(*) from pgbench_history")
        with recovery():
            wait_until(lambda: world.target.one("select count(*) from pgbench_history") >= end, 30, "it goes on", 0.05)
        time.sleep(0.5)
    bench.stop()
    world.wait_same(*TABLES)
    oracle.assert_never_torn(100)
    status = relay.wait_status(lambda s: s["health"]["state"] == "ok", 20, "health is ok")
    assert status["totals"]["retries"] <= 20
    code, seconds = relay.terminate()
    assert code == 0 and seconds < 5
