"""335 Three brokers: leaders move when one is killed; with too few in-sync replicas the log waits, and goes on when they are back."""
import itertools

import pytest

from support.children import wait_until
from support.kafka import Cluster
from support.load import TABLES, Pgbench, TornStateOracle, init_tpcb, small_tpcb

ACCOUNTS = 1000
BOUND_S = 120
marks = itertools.count(-1, -1)


@pytest.fixture(scope="module")
def cluster():
    brokers = Cluster()
    yield brokers
    brokers.kill()


def insert_mark(world):
    mark = next(marks)
    world.source.execute("insert into pgbench_history (tid, bid, aid, delta, filler) values (0, 0, %s, 0, 'mark')", (mark,))
    return mark


def has(world, mark):
    return world.target.one("select exists (select from pgbench_history where aid = %s)", (mark,))


def caught_up(world):
    mark = insert_mark(world)

    def arrived():
        world.assert_running()
        return has(world, mark)
    wait_until(arrived, BOUND_S, "the target catches up", 0.05)


def begin(world, cluster):
    cluster.heal()
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    relay = world.relay(TABLES, kafka=cluster, config={"log": {"replication_factor": 3}})
    relay.setup()
    relay.start(ready=True)
    return relay


@pytest.mark.fault(4)
def test_leaders_move(world, cluster, recovery):
    """Every broker is killed once: each leads some of the partitions, one of them the manifests'."""
    relay = begin(world, cluster)
    oracle = TornStateOracle(world.target, pause_s=0.005).start()
    bench = Pgbench(world.source, seconds=1200, rate=200, script=small_tpcb(ACCOUNTS))
    caught_up(world)
    for node in cluster.nodes:
        node.kill()
        with recovery():
            caught_up(world)
        node.start()
        cluster.wait_in_sync()
    recovery.tries = len(cluster.nodes)
    # A stop is prompt while a broker is dead: librdkafka's own query for watermarks once never came back (its #2588).
    cluster.nodes[1].kill()
    caught_up(world)
    assert relay.terminate()[0] == 0
    cluster.nodes[1].start()
    relay.start()
    caught_up(world)
    bench.stop()
    world.wait_same(*TABLES, timeout_s=BOUND_S)
    oracle.assert_never_torn(snapshots_min=100)
    assert relay.terminate()[0] == 0


@pytest.mark.fault(4)
def test_too_few_replicas(world, cluster, recovery):
    """One of three is no quorum: nothing counts as published, the slot is not told to forget, the memory stays small."""
    relay = begin(world, cluster)
    caught_up(world)
    for node in cluster.nodes[:2]:
        node.kill()
    mark = insert_mark(world)
    end = world.source.lsn()
    bench = Pgbench(world.source, seconds=5, rate=500, script=small_tpcb(ACCOUNTS))
    relay.wait_status(lambda s: s["health"]["state"] != "ok" and s["health"]["why"], BOUND_S, "it says that it is behind")
    bench.wait()
    assert not has(world, mark)
    assert world.source.one("select confirmed_flush_lsn < %s::pg_lsn from pg_replication_slots where slot_name = %s",
                            (end, relay.slot)), "the slot was told to forget what two brokers do not have"
    world.assert_running()
    cluster.nodes[0].start()
    with recovery():
        world.wait_same(*TABLES, timeout_s=BOUND_S)
    cluster.nodes[1].start()
    assert relay.peak_rss_mb() < 160
    assert relay.terminate()[0] == 0
