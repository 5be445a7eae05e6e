"""315 A gigabyte in one transaction, ten thousand savepoints, a target that is slow or away: memory stays bounded.

Rows 10 and 11 of the fault matrix."""
import threading
import time

import pytest

from support.children import wait_until
from support.kills import ALL, Oracle, Workload
from support.world import stream_of

MEMORY_MB = 128  # the default of `memory`
RSS_MB_MAX = MEMORY_MB  # all of it: 73 MB were seen
MANY = 150  # tables


class Seen:
    """Different answers of a query on the target, polled."""

    def __init__(self, server, sql):
        self.answers, self._stop = set(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(server, sql), daemon=True)
        self._thread.start()

    def _run(self, server, sql):
        connection = server.connect()
        with connection.cursor() as cursor:
            while not self._stop.is_set():
                cursor.execute(sql)
                self.answers.add(cursor.fetchone()[0])
                time.sleep(0.05)
        connection.close()

    def stop(self):
        self._stop.set()
        self._thread.join(30)
        return self.answers


@pytest.mark.fault(10)
def test_a_gigabyte_of_large_rows(world):
    """1000 rows of 1 MB. They are compressed on both servers' disks, and whole everywhere in between."""
    relay = stream_of(world, ["public.big"], "create table public.big (id int primary key, b text)")
    relay.start(ready=True)
    seen = Seen(world.target, "select count(*) from big")
    world.source.execute("insert into big select g, repeat(md5(g::text), 32768) from generate_series(1, 1000) g")
    wait_until(lambda: world.target.one("select count(*) from big"), 120, "the transaction arrives", 0.2)
    assert seen.stop() <= {0, 1000}
    same = "select sum(hashtextextended(b, id)::numeric) from big"
    assert world.source.one(same) == world.target.one(same)
    peak = relay.peak_rss_mb()
    print(f"peak {peak:.0f} MB")
    assert peak < RSS_MB_MAX, f"{peak:.0f} MB resident at the peak"


@pytest.mark.fault(10)
@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_one_transaction_over_many_tables(world, kafka):
    """Table after table, then in rounds: to merge them none of their partitions may be kept in memory. Killed on the way."""
    tables = [f"public.m{n}" for n in range(MANY)]
    ddl = ";".join(f"create table {table} (id int primary key, b text)" for table in tables)
    relay = stream_of(world, tables, ddl, kafka=kafka)
    insert = """execute format('insert into m%s select g, repeat(md5(g::text), 5) from generate_series($1, $2) g', n)"""
    world.source.execute(f"""do $$ begin
        for n in 0 .. {MANY - 1} loop {insert} using 1, 2000; end loop;
        for k in 1 .. 50 loop for n in 0 .. {MANY - 1} loop {insert} using 2000 + k * 20, 2019 + k * 20; end loop; end loop;
        end $$""")
    peaks = []
    for seconds in (3, 4, None):
        relay.start(ready=True)
        if seconds is None:
            world.wait_same(*tables, timeout_s=120)
        else:
            time.sleep(seconds)
            assert world.target.one("select count(*) from m0") in (0, 3000)
        peaks.append(relay.peak_rss_mb())
        relay.kill()
    print(f"peaks {peaks} MB")
    assert max(peaks) < 150, f"{peaks} MB resident at the peaks"


@pytest.mark.fault(10)
def test_ten_thousand_savepoints(world):
    """A transaction of as many subtransactions, every third of them rolled back, around rows of their own."""
    relay = stream_of(world, ["public.t"], "create table public.t (id int primary key, v int)")
    relay.start(ready=True)
    seen = Seen(world.target, "select count(*) from t")
    world.source.execute("""do $$ begin for i in 1 .. 10000 loop
        begin
            insert into t values (i, 0);
            update t set v = v + i where id = i;
            if i % 3 = 0 then raise exception 'back'; end if;
        exception when raise_exception then null;
        end;
    end loop; end $$""")
    world.wait_same("t", timeout_s=60)
    assert seen.stop() <= {0, 6667}
    peak = relay.peak_rss_mb()
    print(f"peak {peak:.0f} MB")
    assert peak < RSS_MB_MAX, f"{peak:.0f} MB resident at the peak"


@pytest.mark.fault(11)
def test_target_slower_than_the_senders_patience(world, recovery):
    """The target is stuck three times as long as the source waits for an answer, and far more is waiting than fits."""
    world.source.execute(f"alter role postgres in database {world.source.database} set wal_sender_timeout = '5s'")
    workload = Workload(world.source, 330)
    workload.prepare(world.target)
    relay = world.relay(ALL, config={"memory": "32MB"})
    relay.setup()
    relay.start(ready=True)
    oracle = Oracle(world.source, world.target, relay.slot).start()
    sender = "select active_pid from pg_replication_slots where slot_name = %s"
    before = world.source.one(sender, (relay.slot,))
    with world.target.transaction() as cursor:
        cursor.execute("lock table items in exclusive mode")
        until = time.monotonic() + 16
        while time.monotonic() < until:
            workload.small()
            world.source.execute("insert into items select 1000000 + g, g, repeat(md5(g::text), 100) "
                                 "from generate_series(1, 1000) g; delete from items where id > 1000000")
            time.sleep(0.05)
        assert world.source.one(sender, (relay.slot,)) == before, "the connection to the slot was lost"
    with recovery():
        world.wait_same(*ALL, timeout_s=90)
    assert world.source.one(sender, (relay.slot,)) == before
    oracle.stop().check()
    peak = relay.peak_rss_mb()
    print(f"peak {peak:.0f} MB")
    assert peak < 128, f"{peak:.0f} MB resident at the peak"


@pytest.mark.fault(11)
def test_target_away(world, recovery):
    """The target's server is stopped while rows stream; the slot keeps them."""
    workload = Workload(world.source, 331)
    workload.prepare(world.target)
    relay = world.relay(ALL, config={"memory": "32MB"})
    relay.setup()
    relay.start(ready=True)
    workload.small()
    world.wait_same(*ALL)
    target = world.servers.get("target")
    target.stop()
    until = time.monotonic() + 8
    while time.monotonic() < until:
        workload.small()
        time.sleep(0.005)
    relay.wait_status(lambda s: s["health"]["state"] == "blocked" and "target" in s["health"]["why"], 30, "blocked")
    slot = world.source.slot(relay.slot)
    assert slot["active"] and slot["behind"] > 0
    target.start()
    with recovery():
        world.wait_same(*ALL, timeout_s=60)
    peak = relay.peak_rss_mb()
    print(f"peak {peak:.0f} MB")
    assert peak < 128, f"{peak:.0f} MB resident at the peak"
