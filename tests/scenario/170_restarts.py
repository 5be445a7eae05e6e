"""170 Source, target and broker restart and crash under the relay: it tries again, and nothing is lost or doubled."""
import random
import threading
import time

import psycopg2
import pytest

from support.children import wait_until
from support.load import TABLES, Pgbench, TornStateOracle, init_tpcb, small_tpcb
from support.world import stream_of

DDL = "create table public.t (id int primary key, v text); create table public.events (n int)"


def feed(world, first):
    for i in range(first, first + 20):
        world.source.execute("insert into t values (%s, 'x'); insert into events values (%s)", (i, i))
    world.source.execute("update t set v = 'y' where id >= %s", (first,))


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
@pytest.mark.parametrize("side", [pytest.param("source", marks=pytest.mark.fault(6)),
                                  pytest.param("target", marks=pytest.mark.fault(11))])
def test_server_restarts(world, recovery, side, mode):
    relay = stream_of(world, ["public.t", "public.events"], DDL)
    relay.start(ready=True)
    feed(world, 0)
    server = getattr(world, side).server
    if mode == "kill":
        server.kill()
        server.start()
    else:
        server.restart(mode)
    with recovery():
        feed(world, 1000)
        world.wait_same("t", "events")
    assert relay.running()
    feed(world, 2000)
    world.wait_same("t", "events")


@pytest.mark.fault(11)
def test_target_crashes_in_a_copy(world, recovery):
    """The commits of chunks are not flushed: a crash may take the newest, and with each the progress that it made."""
    world.both("create table public.t (id int primary key, v text)")
    world.source.execute("insert into t select i, repeat('v', 100) from generate_series(1, 20000) i")
    relay = world.relay(["public.t"], config={"backfill": {"on_start": True}})
    hold = relay.folder / "hold"
    hold.touch()
    relay.start(env={"MILLRACE_FAIL": f"backfill_write@4:hold:{hold}"}, ready=True)
    wait_until(lambda: "failpoint backfill_write@4 fires" in relay.log_text(), what="some chunks are written")
    progress = "select (select count(*) from t), rows_done from millrace.progress"
    before = world.target.execute(progress)[0]
    world.target.server.kill()
    world.target.server.start()
    rows, done = world.target.execute(progress)[0]
    assert rows == done <= before[0] < 20000, f"{before} before, {(rows, done)} after"
    hold.unlink()
    with recovery():
        relay.wait_status(lambda s: s["backfill"]["state"] == "done", what="the copy ends")
    relay.stop()
    relay.catch_up()
    world.assert_same("t")


@pytest.mark.fault(11)
def test_target_away_for_a_while(world, recovery):
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
    with recovery():
        world.wait_same("t", "events")
    relay.wait_status(lambda s: s["health"]["state"] == "ok", 20, "health is ok again")


@pytest.mark.fault(6)
def test_source_away_at_the_start(world, recovery):
    relay = stream_of(world, ["public.t", "public.events"], DDL)
    world.source.server.stop("fast")
    relay.start()
    time.sleep(1.5)
    assert relay.running()
    world.source.server.start()
    with recovery():
        feed(world, 0)
        world.wait_same("t", "events")


@pytest.mark.fault(4)
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_broker_restarts(world, recovery, how):
    relay = stream_of(world, ["public.t", "public.events"], DDL, kafka=True)
    relay.start(ready=True)
    feed(world, 0)
    getattr(world.kafka, how)()
    feed(world, 1000)
    time.sleep(2)
    assert relay.running()
    world.kafka.start()
    with recovery():
        feed(world, 2000)
        world.wait_same("t", "events", timeout_s=60)


@pytest.mark.fault(3)
def test_connections_killed_under_load(world, recovery):
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
    with recovery():
        world.wait_same(*TABLES)
    recovery.tries = 12
    oracle.assert_never_torn(200)


@pytest.mark.fault(12)
def test_lock_timeouts_at_the_target(world, recovery):
    relay = stream_of(world, ["public.t", "public.events"], DDL)
    world.target.execute(f"alter database {world.target.database} set lock_timeout = '300ms'")
    relay.start(ready=True)
    with world.target.transaction() as cursor:
        cursor.execute("lock table t in access exclusive mode")
        feed(world, 0)
        time.sleep(1.5)
    with recovery():
        world.wait_same("t", "events")
    assert relay.running()


class Rivals:
    """Sessions of the target that lock rows of the applier's tables in random order, each transaction the other way."""

    def __init__(self, database, count):
        self.database, self.stopped, self.error = database, threading.Event(), None
        self.threads = [threading.Thread(target=self._run, args=(random.Random(i),), daemon=True) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self, dice):
        connection = self.database.connect(autocommit=False)
        tables = ["pgbench_accounts where aid <= 300", "pgbench_tellers", "pgbench_branches"]
        while not self.stopped.is_set():
            dice.shuffle(tables)
            try:
                with connection.cursor() as cursor:
                    for table in tables:
                        cursor.execute(f"select from {table} for update")
                        time.sleep(dice.uniform(0, 0.02))
                connection.commit()
            except psycopg2.Error as error:
                connection.rollback()
                if not isinstance(error, psycopg2.OperationalError):
                    self.error = error
                    break
            time.sleep(dice.uniform(0, 0.1))
        connection.close()

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(20)
        if self.error:
            raise self.error


@pytest.mark.fault(12)
def test_deadlocks_and_serialization_failures_at_the_target(world, recovery):
    """A batch that loses is applied again as a whole: no snapshot is torn, and history, without a key, is exact."""
    init_tpcb(world.source, world.target, accounts=1000)
    world.target.execute(f"alter database {world.target.database} set deadlock_timeout = '20ms'")
    world.target.execute("create function public.unlucky() returns trigger language plpgsql as $$ begin if random() < 0.1 "
                         "then raise sqlstate '40001' using message = 'could not serialize access'; end if; return null; "
                         "end $$; create trigger unlucky after insert on pgbench_history for each statement execute "
                         "function public.unlucky()")
    relay = world.relay(TABLES)
    relay.setup()
    relay.start(ready=True)
    oracle = TornStateOracle(world.target, pause_s=0.005).start()
    rivals = Rivals(world.target, 3)
    bench = Pgbench(world.source, seconds=1200, rate=200, script=small_tpcb(1000))

    def lost(words, count):
        world.assert_running()
        return relay.log_text().count(words) >= count
    try:
        wait_until(lambda: lost("deadlock detected", 3), what="the applier has lost by deadlocks", interval_s=0.2)
        rivals.stop()  # on a slow machine they let nothing come as far as the other trap
        wait_until(lambda: lost("could not serialize", 10), what="the applier has lost by serialization", interval_s=0.2)
    finally:
        bench.stop()
        rivals.stop()
    with recovery():
        world.wait_same(*TABLES, timeout_s=60)
    recovery.tries = relay.status()["totals"]["retries"]
    oracle.assert_never_torn(100)
