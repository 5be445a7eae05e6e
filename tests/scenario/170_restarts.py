"""170 Source, target and broker restart and crash under the relay: it tries again, and nothing is lost or doubled."""
import time

import pytest

from support.load import TABLES, Pgbench, TornStateOracle, init_tpcb, small_tpcb
from support.world import stream_of

DDL = "create table public.t (id int primary key, v text); create table public.events (n int)"


def feed(world, first):
    for i in range(first, first + 20):
        world.source.execute("insert into t values (%s, 'x'); insert into events values (%s)", (i, i))
    world.source.execute("update t set v = 'y' where id >= %s", (first,))


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_server_restarts(world, side, mode):
    relay = stream_of(world, ["public.t", "public.events"], DDL)
    relay.start(ready=True)
    feed(world, 0)
    server = getattr(world, side).server
    if mode == "kill":
        server.kill()
        server.start()
    else:
        server.restart(mode)
    feed(world, 1000)
    world.wait_same("t", "events")
    assert relay.running()
    feed(world, 2000)
    world.wait_same("t", "events")


def test_target_away_for_a_while(world):
    relay = stream_of(world, ["public.t", "public.events"], DDL)
    relay.start(ready=True)
    feed(world, 0)
    world.wait_same("t", "events")
    world.target.server.stop("fast")
    feed(world, 1000)
    status = relay.wait_status(lambda s: s["health"]["state"] == "blocked", 20, "health is blocked")
    assert "target" in status["health"]["why"] or "apply" in status["health"]["why"]
    assert relay.get("/readyz")[0] == 503
    world.target.server.start()
    world.wait_same("t", "events")
    relay.wait_status(lambda s: s["health"]["state"] == "ok", 20, "health is ok again")


def test_source_away_at_the_start(world):
    relay = stream_of(world, ["public.t", "public.events"], DDL)
    world.source.server.stop("fast")
    relay.start()
    time.sleep(1.5)
    assert relay.running()
    world.source.server.start()
    feed(world, 0)
    world.wait_same("t", "events")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_broker_restarts(world, how):
    relay = stream_of(world, ["public.t", "public.events"], DDL, kafka=True)
    relay.start(ready=True)
    feed(world, 0)
    getattr(world.kafka, how)()
    feed(world, 1000)
    time.sleep(2)
    assert relay.running()
    world.kafka.start()
    feed(world, 2000)
    world.wait_same("t", "events", timeout_s=60)


def test_connections_killed_under_load(world):
    init_tpcb(world.source, world.target, accounts=1000)
    relay = world.relay(TABLES)
    relay.setup()
    relay.start(ready=True)
    oracle = TornStateOracle(world.target, pause_s=0.005).start()
    bench = Pgbench(world.source, seconds=8, rate=500, script=small_tpcb(1000))
    for i in range(12):
        time.sleep(0.5)
        if i % 2:
            world.source.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where active")
        else:  # every session of the relay in the target; the oracle's is idle or selects the sums
            world.target.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = "
                                 "current_database() and pid <> pg_backend_pid() and query !~ 'abalance.*tbalance'"
                                 " and backend_type = 'client backend' and application_name ~* 'millrace'")
    bench.wait()
    world.wait_same(*TABLES)
    oracle.stop().assert_never_torn(200)


def test_deadlocks_and_lock_timeouts_at_the_target(world):
    relay = stream_of(world, ["public.t", "public.events"], DDL)
    world.target.execute(f"alter database {world.target.database} set lock_timeout = '300ms'")
    relay.start(ready=True)
    with world.target.transaction() as cursor:
        cursor.execute("lock table t in access exclusive mode")
        feed(world, 0)
        time.sleep(1.5)
    world.wait_same("t", "events")
    assert relay.running()
