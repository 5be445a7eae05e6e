"""390 Open transactions that the source streams before they commit (source.streaming: on): interleaved, rolled back
whole or by savepoint, killed while they are put away and while they are replayed; the target sees whole ones only."""
import random
import threading
import time

import pytest

from support.children import PATIENCE_S, bytes_in, wait_until
from support.load import TABLES, TornStateOracle, init_tpcb
from support.world import stream_of

pytestmark = pytest.mark.fault(10)

WRITERS = 4
RSS_MB_MAX = 176  # memory: 128MB, the program, and what it puts open transactions away with

# One of pgbench's transactions inside a larger one; each writer has a branch of its own, so that they do not wait.
STEP = """update pgbench_accounts set abalance = abalance + {delta} where aid = {aid};
update pgbench_tellers set tbalance = tbalance + {delta} where tid = {tid};
update pgbench_branches set bbalance = bbalance + {delta} where bid = {bid};
insert into pgbench_history (tid, bid, aid, delta, mtime, filler) values ({tid}, {bid}, {aid}, {delta}, now(), 'x');"""


def streaming_of(world, tables, ddl="", **options):
    world.source.execute("alter system set logical_decoding_work_mem = '64kB'")
    world.source.execute("select pg_reload_conf()")
    options["config"] = {"source": {"streaming": "on"}, **options.get("config", {})}
    return stream_of(world, tables, ddl, **options)


def streamed(world, relay):
    """How many transactions the source's server has sent before their end; known a little later."""
    return world.source.one("select coalesce(sum(stream_txns), 0)::int from pg_stat_replication_slots where slot_name = %s",
                            (relay.slot,))


def wait_streamed(world, relay, count=1):
    wait_until(lambda: streamed(world, relay) >= count, 60, f"{count} transactions were streamed")


class Writer(threading.Thread):
    """Large transactions with savepoints in savepoints, of which some are rolled back; every sixth one whole."""

    def __init__(self, world, number, stop):
        super().__init__(daemon=True)
        self.server, self.number, self.stop = world.source, number, stop
        self.random = random.Random(number)
        self.committed, self.error = 0, None

    def steps(self, cursor, count):
        cursor.execute("\n".join(STEP.format(
            delta=self.random.randint(-5000, 5000), bid=self.number + 1, tid=self.number * 10 + 1,
            aid=self.random.randrange(250) * WRITERS + self.number + 1) for _ in range(count)))

    def transaction(self, connection):
        with connection.cursor() as cursor:
            for part in range(self.random.randint(5, 12)):
                cursor.execute(f"savepoint a{part}")
                self.steps(cursor, 20)
                cursor.execute(f"savepoint b{part}")
                self.steps(cursor, 20)
                choice = self.random.randrange(4)
                if choice == 0:
                    cursor.execute(f"rollback to a{part}")
                elif choice == 1:
                    cursor.execute(f"rollback to b{part}")
                elif choice == 2:
                    cursor.execute(f"release a{part}")
                self.steps(cursor, 5)
        if self.random.randrange(6) == 0:
            connection.rollback()
        else:
            connection.commit()
            self.committed += 1

    def run(self):
        try:
            connection = self.server.connect(autocommit=False)
            while not self.stop.is_set():
                self.transaction(connection)
            connection.close()
        except Exception as error:  # shown by load(); a thread can not fail a test
            self.error = error


def load(world, meanwhile):
    stop = threading.Event()
    writers = [Writer(world, number, stop) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        meanwhile()
        wait_until(lambda: all(writer.committed >= 3 or writer.error for writer in writers), what="each has committed three")
    finally:
        stop.set()
        for writer in writers:
            writer.join(PATIENCE_S)
    assert not [writer.error for writer in writers if writer.error]
    assert all(writer.committed for writer in writers)


def tpcb(world):
    init_tpcb(world.source, world.target, accounts=1000, scale=WRITERS)
    relay = streaming_of(world, TABLES)
    relay.start(ready=True)
    return relay


def test_interleaved_with_rollbacks(world, recovery):
    relay = tpcb(world)
    oracle = TornStateOracle(world.target, pause_s=0.005).start()
    load(world, lambda: time.sleep(6))
    with recovery():
        world.wait_same(*TABLES, timeout_s=90)
    wait_streamed(world, relay, 10)
    oracle.assert_never_torn(50)


def test_killed_while_they_are_open(world, recovery):
    """kill -9 between, during and right after stream blocks: what was put away is sent again, from its beginning."""
    relay = tpcb(world)
    oracle = TornStateOracle(world.target, pause_s=0.005).start()

    def kills():
        for i in range(6):
            time.sleep(0.7 + 0.13 * i)
            relay.kill()
            relay.start()
    load(world, kills)
    with recovery():
        world.wait_same(*TABLES, timeout_s=90)
    oracle.assert_never_torn(50)


def test_killed_during_the_replay(world):
    relay = streaming_of(world, ["public.big"], "create table public.big (id int primary key, b text)")
    relay.start(ready=True)
    with world.source.transaction() as cursor:
        cursor.execute("insert into big select g, repeat('x', 50) from generate_series(1, 150000) g")
        wait_streamed(world, relay)
    for _ in range(3):
        time.sleep(0.4)
        relay.kill()
        relay.start()
    world.wait_same("big", timeout_s=90)
    seen = world.target.one("select count(distinct _millrace) from big")
    assert seen == 150000  # ordinals 0, 1, 2 … of one commit, each once


def test_ten_thousand_savepoints(world):
    relay = streaming_of(world, ["public.t"], "create table public.t (id int primary key, v text)")
    relay.start(ready=True)
    with world.source.transaction() as cursor:
        cursor.execute("""do $$ begin
            for i in 1..10000 loop
              begin
                insert into t values (i, repeat('v', 100));
                if i % 3 = 0 then raise exception 'back'; end if;
              exception when raise_exception then null;
              end;
              if i % 100 = 0 then update t set v = v || i where id > i - 50; end if;
            end loop; end $$""")
    world.wait_same("t", timeout_s=60)
    wait_streamed(world, relay)
    assert world.target.one("select count(*) from t") == 6667


@pytest.mark.parametrize("rule", [None, "keep_rolled_back"])  # the latter: the comparison would notice
def test_savepoints_deep_in_each_other(world, rule):
    relay = streaming_of(world, ["public.t"], "create table public.t (id int primary key, v text)")
    relay.start(env={"MILLRACE_MUTATE": rule} if rule else None, ready=True)
    with world.source.transaction() as cursor:
        for depth in range(60):
            cursor.execute(f"savepoint s{depth}")
            cursor.execute("insert into t select g, repeat('v', 200) from generate_series(%s, %s) g",
                           (depth * 100, depth * 100 + 99))
        cursor.execute("rollback to s40")
        cursor.execute("insert into t select g, 'after' from generate_series(100000, 102000) g")
        cursor.execute("release s20")
        cursor.execute("update t set v = 'changed' where id % 7 = 0")
        cursor.execute("rollback to s10")
        cursor.execute("insert into t select g, 'in the end' from generate_series(200000, 202000) g")
    if rule:
        wait_until(lambda: world.target.one("select max(id) from t") == 202000, 60, "the transaction arrives")
        assert world.differences("t")
        return
    world.wait_same("t", timeout_s=60)
    wait_streamed(world, relay)


def test_ddl_inside(world):
    """Rows are read by the shape that their table had at their place in the transaction, rolled back or not."""
    world.both("create table public.t (id int primary key, v text); create table public.other (id int primary key, v text)")
    world.target.execute("create type mood as enum ('sad', 'ok'); alter table t add c int, add m mood")
    relay = streaming_of(world, ["public.t", "public.other"])
    relay.start(ready=True)
    fill = "insert into {} select g, repeat('v', 100){} from generate_series({}, {}) g"
    world.source.execute(fill.format("t", "", 1, 10))  # t is known by its old shape
    with world.source.transaction() as cursor:
        cursor.execute(fill.format("t", "", 1000, 3000))
        cursor.execute("create type mood as enum ('sad', 'ok')")
        cursor.execute("alter table t add c int, add m mood")
        cursor.execute(fill.format("t", ", g, 'ok'", 4000, 6000))
        cursor.execute("savepoint s")
        cursor.execute("alter table t drop c; alter table t add d text")
        cursor.execute(fill.format("t", ", 'sad', 'd'", 7000, 9000))
        world.source.execute(fill.format("other", "", 1, 2000))  # commits in between
        cursor.execute("rollback to s")
        cursor.execute(fill.format("t", ", g, 'sad'", 10000, 12000))
        wait_streamed(world, relay, 2)
    world.source.execute(fill.format("t", ", 7, 'ok'", 20000, 20010))  # a small one, by the new shape
    world.wait_same("t", "other", timeout_s=60)


def test_ddl_rolled_back_whole(world):
    relay = streaming_of(world, ["public.t"], "create table public.t (id int primary key, v text)")
    relay.start(ready=True)
    connection = world.source.connect(autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("alter table t add c int")
        cursor.execute("insert into t select g, repeat('v', 100), g from generate_series(1, 3000) g")
        wait_streamed(world, relay)
    connection.rollback()
    world.source.execute("insert into t values (1, 'v')")
    world.wait_same("t", timeout_s=60)
    with connection.cursor() as cursor:
        cursor.execute("insert into t select g, repeat('v', 100) from generate_series(2, 3000) g")
    connection.commit()
    connection.close()
    world.wait_same("t", timeout_s=60)


def test_truncate_and_toast(world):
    relay = streaming_of(world, ["public.t", "public.l"], """create table public.t (id int primary key, big text, n int);
        create table public.l (id int primary key, v text)""")
    relay.start(ready=True)
    long = "(select string_agg(md5((g * 1000 + i)::text), '') from generate_series(1, 200) i)"
    world.source.execute(f"insert into t select g, {long}, 0 from generate_series(1, 20) g; insert into l values (1, 'x')")
    with world.source.transaction() as cursor:
        cursor.execute("update t set n = n + 1")  # big stays where it is
        cursor.execute(f"insert into t select g, {long}, 0 from generate_series(21, 300) g")
        cursor.execute("truncate l")
        cursor.execute("insert into l select g, 'after' from generate_series(1, 3000) g")
        cursor.execute("savepoint s")
        cursor.execute("truncate t")
        cursor.execute("rollback to s")
        cursor.execute("update t set n = n + 10")
        cursor.execute("update t set id = id + 1000 where id % 5 = 0")
        cursor.execute("delete from t where id % 7 = 0")
    world.wait_same("t", "l", timeout_s=60)
    wait_streamed(world, relay)


def test_the_slot_moves_while_one_is_open(world, recovery):
    """What is open commits behind everything that is confirmed, and the slot keeps the WAL from its start: so the
    confirmed place passes it, and a relay that was killed meanwhile gets all of it again."""
    relay = streaming_of(world, ["public.t"], "create table public.t (id int primary key, v text)")
    world.source.execute("create table noise (n int)")
    relay.start(ready=True)
    connection = world.source.connect(autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("insert into t select g, repeat('v', 100) from generate_series(1, 5000) g")
        wait_streamed(world, relay)
        world.source.execute("insert into t values (100000, 'small')")
        world.source.execute("insert into noise select generate_series(1, 1000)")
        place = world.source.lsn()
        world.source.execute("insert into noise values (1)")
        wait_until(lambda: world.source.one("select confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots where "
                                            "slot_name = %s", (place, relay.slot)), 60, "the slot moves")
        assert world.target.one("select count(*) from t") == 1
        relay.kill()
        world.source.execute("checkpoint")
        relay.start(ready=True)
        cursor.execute("insert into t select g, 'more' from generate_series(5001, 9000) g")
        wait_streamed(world, relay, 2)
    with recovery():
        connection.commit()
        connection.close()
        world.wait_same("t", timeout_s=60)


def test_half_a_gigabyte(world):
    relay = streaming_of(world, ["public.big"], "create table public.big (id int primary key, b text)")
    relay.start(ready=True)
    with world.source.transaction() as cursor:
        cursor.execute("alter table big alter b set storage external")
        cursor.execute("""create temporary table texts on commit drop as select g as n, (select string_agg(
                          md5((g * 64 + i)::text), '') as b from generate_series(1, 60) i) from generate_series(0, 999) g""")
        cursor.execute("""insert into big select g, b from generate_series(1, 270000) g
                          join texts on n = g % 1000 order by g""")  # 1,920 bytes each, 500 MB in all
        folder = relay.folder / "state" / "spill"
        wait_until(lambda: bytes_in(folder, "*.sst") > 100 << 20, what="it is put away")
    wait_until(lambda: world.target.one("select exists (select from big)"), 150, "the transaction arrives", 0.2)
    peak = relay.peak_rss_mb()
    world.wait_same("big", timeout_s=60)
    assert peak < RSS_MB_MAX, f"{peak:.0f} MB resident at the peak"
    wait_until(lambda: bytes_in(folder) < 16 << 20, what="its room is given back")
    assert relay.terminate()[0] == 0
    assert not folder.exists()
