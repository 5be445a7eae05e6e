"""150 An idle slot lets go of WAL without a heartbeat table; lag is 0 when idle and grows when stuck; an idle relay sleeps."""
import time

import psutil
import pytest

from support.children import wait_until
from support.world import stream_of

DDL = "create table public.t (id int primary key, v text)"


def confirmed(world, relay, lsn):
    return world.source.one("select confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots where slot_name = %s",
                            (lsn, relay.slot))


def test_slot_follows_other_databases_traffic(world):
    relay = stream_of(world, ["public.t"], DDL)
    other = world.servers.get("source").fresh_database("busy")
    relay.start(ready=True)
    for _ in range(3):
        other.execute("create table if not exists w (x text); insert into w select repeat('x', 500) "
                      "from generate_series(1, 20000)")
        end = world.source.lsn()
        wait_until(lambda: confirmed(world, relay, end), 20, "the idle slot follows")
    assert world.source.one("select count(*) from pg_tables where schemaname not in "
                            "('pg_catalog', 'information_schema')") == 1, "a helper table at the source"
    world.servers.get("source").drop_database(other)


def test_slot_waits_for_what_is_not_applied(world):
    """The target is stuck: with the embedded log nothing beyond it is acknowledged, however long it takes."""
    relay = stream_of(world, ["public.t"], DDL)
    relay.start(ready=True)
    world.source.execute("insert into t values (1, 'x')")
    world.wait_same("t")
    with world.target.transaction() as cursor:
        cursor.execute("lock table t in access exclusive mode")
        world.source.execute("insert into t values (2, 'y')")
        after = world.source.lsn()
        world.source.execute("create table noise as select g from generate_series(1, 50000) g")
        time.sleep(4)
        assert not confirmed(world, relay, after), "acknowledged what the target does not have"
    world.wait_same("t")
    wait_until(lambda: confirmed(world, relay, after), 20, "the slot follows at last")


def test_lag_is_zero_when_idle_and_grows_when_stuck(world):
    relay = stream_of(world, ["public.t"], DDL)
    relay.start(ready=True)
    world.source.execute("insert into t values (1, 'x')")
    world.wait_same("t")
    relay.wait_status(lambda s: s["lag"]["bytes"] == 0 and s["lag"]["seconds"] == 0, 20, "no lag")
    time.sleep(3)
    relay.wait_status(lambda s: s["lag"]["seconds"] == 0 and s["health"]["state"] == "ok",
                      what="idle: still no lag, no seconds since the last commit")
    with world.target.transaction() as cursor:
        cursor.execute("lock table t in access exclusive mode")
        world.source.execute("insert into t select g, repeat('y', 100) from generate_series(2, 1000) g")
        stuck = relay.wait_status(lambda s: (s["lag"]["seconds"] or 0) > 1 and s["lag"]["bytes"] > 50_000,
                                  what="the lag grows")
        time.sleep(2)
        assert relay.status()["lag"]["seconds"] > stuck["lag"]["seconds"] + 1
    world.wait_same("t")
    relay.wait_status(lambda s: s["lag"]["bytes"] == 0 and s["lag"]["seconds"] == 0 and
                      s["health"]["state"] == "ok", 20, "the lag goes away")


def test_open_transaction_elsewhere_holds_nothing_back(world):
    relay = stream_of(world, ["public.t"], DDL)
    relay.start(ready=True)
    with world.source.transaction() as cursor:
        cursor.execute("insert into t values (1000, 'open')")
        world.source.execute("insert into t values (1, 'x')")
        wait_until(lambda: world.target.one("select count(*) from t") == 1, 20, "the closed one arrives")
    world.wait_same("t")


def test_back_pressure_does_not_starve_the_keepalive(world):
    """The target is stuck for longer than wal_sender_timeout and much is waiting: the connection stays."""
    world.source.execute(f"alter role postgres in database {world.source.database} set wal_sender_timeout = '6s'")
    relay = stream_of(world, ["public.t"], DDL, config={"memory": "32MB"})
    relay.start(ready=True)
    world.source.execute("insert into t values (0, 'x')")
    world.wait_same("t")
    pid = "select active_pid from pg_replication_slots where slot_name = %s"
    before = world.source.one(pid, (relay.slot,))
    with world.target.transaction() as cursor:
        cursor.execute("lock table t in access exclusive mode")
        for i in range(60):
            world.source.execute("insert into t select %s * 1000 + g, repeat(md5(g::text), 60) "
                                 "from generate_series(1, 500) g", (i + 1,))
        time.sleep(14)
        assert world.source.one(pid, (relay.slot,)) == before, "the walsender was lost while apply was stuck"
    world.wait_same("t")
    assert relay.peak_rss_mb() < 200


@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_idle_relay_sleeps(world, kafka):
    """Its threads wake up a few dozen times a second, all together: a machine that is busy makes that less, not more."""
    relay = stream_of(world, ["public.t"], DDL, kafka=kafka)
    relay.start(ready=True)
    world.source.execute("insert into t values (1, 'x')")
    world.wait_same("t")
    pid = relay.child().pid

    def wakes():
        """Of the threads that live: those of librdkafka stay for as long as their clients do."""
        return sum(int(line.split()[1]) for task in psutil.Process(pid).threads()
                   for line in open(f"/proc/{pid}/task/{task.id}/status") if line.startswith("voluntary"))
    before, began = wakes(), time.monotonic()
    time.sleep(5)
    a_second = (wakes() - before) / (time.monotonic() - began)
    assert a_second < 110, f"{a_second:.0f} wakes a second"
    world.source.execute("insert into t values (2, 'y')")
    world.wait_same("t")
    code, seconds = relay.terminate()
    assert code == 0 and seconds < 5, (code, seconds)
