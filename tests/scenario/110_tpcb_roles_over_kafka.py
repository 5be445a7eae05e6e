"""110 The oracle of 100 through a real Kafka broker, with capture and apply as processes of their own, each killed."""
import random
import time

import pytest

from support.children import wait_until
from support.load import TABLES, Pgbench, TornStateOracle, init_tpcb, small_tpcb

ACCOUNTS = 1000
KILLS = 22
STATES_BETWEEN = 10  # of the target that are seen before every second kill; the others may hit a start


@pytest.mark.fault(1)
def test_never_torn_while_either_role_is_killed(world, recovery):
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    relay = world.relay(TABLES, kafka=True)
    relay.setup()
    relay.start("capture").start("apply")
    oracle = TornStateOracle(world.target, pause_s=0.002).start()
    bench = Pgbench(world.source, seconds=1200, rate=600, script=small_tpcb(ACCOUNTS))
    dice = random.Random(11)
    for kill in range(KILLS):
        if kill % 2 == 0:
            enough = oracle.distinct + STATES_BETWEEN
            wait_until(lambda enough=enough: world.assert_running() or oracle.distinct >= enough, 90, "the target moves")
        time.sleep(dice.uniform(0.1, 1.2))
        role = dice.choice(["capture", "apply"])
        relay.kill(role)
        relay.start(role)
    oracle.wait_seen(3000, distinct=100)
    assert bench.running(), "the load ended before the last kill: the test shows too little"
    bench.stop()
    with recovery():
        world.wait_same(*TABLES, timeout_s=60)
    recovery.tries = KILLS
    oracle.assert_never_torn(snapshots_min=3000)
    assert relay.terminate("capture")[0] == 0
    assert relay.terminate("apply")[0] == 0


def test_apply_away_while_capture_goes_on(world):
    """Kafka keeps what the applier has not read; the slot moves on without it."""
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    relay = world.relay(TABLES, kafka=True)
    relay.setup()
    relay.start("capture")
    Pgbench(world.source, seconds=3, rate=500, script=small_tpcb(ACCOUNTS)).wait()
    end = world.source.lsn()
    wait_until(lambda: world.source.one("select confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots where "
                                        "slot_name = %s", (end, relay.slot)), what="the slot moves on")
    assert world.source.slot(relay.slot)["behind"] < 1 << 20
    assert world.target.one("select count(*) from pgbench_history") == 0
    relay.terminate("capture")
    oracle = TornStateOracle(world.target).start()
    relay.start("apply")
    world.wait_same(*TABLES, timeout_s=30)
    oracle.assert_never_torn(snapshots_min=10)
