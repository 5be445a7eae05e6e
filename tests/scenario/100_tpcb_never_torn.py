"""100 pgbench's TPC-B through one process that is killed at random: no snapshot of the target is torn.

At every instant the sums of accounts, tellers, branches and of history's deltas are equal at the source;
they must be so in every snapshot of the target, thousands of them, and at the end row by row."""
import random
import time

import pytest

from support.load import TABLES, Pgbench, TornStateOracle, init_tpcb, small_tpcb

ACCOUNTS = 1000
KILLS = 22


def test_oracle_sees_a_torn_state(world):
    """The oracle can fail: two sides that are written in two transactions are told."""
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    oracle = TornStateOracle(world.target).start()
    world.target.execute("update pgbench_accounts set abalance = abalance + 5 where aid = 1")
    oracle.wait_seen(oracle.snapshots + 2)
    world.target.execute("update pgbench_tellers set tbalance = tbalance + 5 where tid = 1; "
                         "update pgbench_branches set bbalance = bbalance + 5; "
                         "insert into pgbench_history (delta) values (5)")
    assert oracle.stop().torn


@pytest.mark.fault(1)
def test_never_torn_while_killed(world, recovery):
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    relay = world.relay(TABLES)
    relay.setup()
    relay.start()
    oracle = TornStateOracle(world.target, pause_s=0.002).start()
    bench = Pgbench(world.source, seconds=1200, rate=1000, script=small_tpcb(ACCOUNTS))
    dice = random.Random(7)
    for _ in range(KILLS):
        time.sleep(dice.uniform(0.3, 1.6))
        relay.kill()
        relay.start()
    oracle.wait_seen(3000, distinct=100)
    assert bench.running(), "the load ended before the last kill: the test shows too little"
    bench.stop()
    with recovery():
        world.wait_same(*TABLES, timeout_s=60)
    recovery.tries = KILLS
    oracle.assert_never_torn(snapshots_min=3000)
    assert relay.terminate()[0] == 0


def test_never_torn_at_full_speed(world):
    """Without kills, with as much load as the machine gives."""
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    relay = world.relay(TABLES)
    relay.setup()
    relay.start()
    oracle = TornStateOracle(world.target, pause_s=0.002).start()
    bench = Pgbench(world.source, seconds=1200, clients=4, script=small_tpcb(ACCOUNTS))
    time.sleep(8)
    oracle.wait_seen(500, distinct=50)
    bench.stop()
    world.wait_same(*TABLES, timeout_s=60)
    oracle.assert_never_torn(snapshots_min=500)
