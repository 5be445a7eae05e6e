"""360 `on_bad_row: park`: a row that the target rejects waits with all later changes of its key, in order; others go on.

`millrace letters` shows them, tries them again, gives them up; a retry never overwrites a newer row, and both work
beside a running process."""
import json
import random
import threading
import time

import pytest

from support.children import PATIENCE_S, wait_until
from support.load import TABLES, Pgbench, TornStateOracle, init_tpcb, small_tpcb
from support.world import last_line, stream_of

pytestmark = pytest.mark.fault(13)

DDL = "create table public.t (id int primary key, v text, n int)"
PARK = {"target": {"on_bad_row": "park"}}
SECRET = "s3cret-value-of-a-row"


def parking(world, ddl=DDL, tables=("public.t",), **config):
    relay = stream_of(world, list(tables), ddl, config={"target": dict(PARK["target"], **config)})
    relay.start(ready=True)
    return relay


def letters(relay, *arguments):
    done = relay.command("letters", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def retry_all(relay):
    done = relay.command("letters", "retry", "--all")
    assert done.returncode == 0, done.stderr


def wait_parked(relay, count):
    return relay.wait_status(lambda s: s["parked"] == count, 40, f"{count} changes are parked")


def wait_applied(world, sql, value):
    wait_until(lambda: world.target.one(sql) == value, 40, f"{sql} is {value}", 0.1)


BAD = {  # what the target is like, a bad row for it, how it is mended, what the letter says
    "constraint": ("alter table t add constraint short check (length(v) < 5)", (f"'{SECRET}'", "1"),
                   "alter table t drop constraint short", "short"),
    "not null": ("alter table t alter n set not null", ("'a'", "null"), "alter table t alter n drop not null", "23502"),
    "range": ("alter table t alter n type smallint", ("'a'", "70000"), "alter table t alter n type int", "22003"),
    "unique": ("insert into t values (9, 'only here', 0); create unique index only_here on t (n)", ("'a'", "0"),
               "drop index only_here; delete from t where id = 9", "only_here"),
}


@pytest.mark.parametrize("case", BAD)
def test_others_go_on_and_a_retry_makes_it_equal(world, case, recovery):
    damage, (v, n), mend, word = BAD[case]
    relay = parking(world)
    world.source.execute("insert into t select g, 'x', g from generate_series(1, 5) g")
    world.wait_same("t")
    world.target.execute(damage)
    world.source.execute(f"insert into t select g, 'y', g from generate_series(100, 3000) g; "
                         f"insert into t values (41, {v}, {n}); insert into t values (42, 'z', 42)")
    wait_parked(relay, 1)
    world.source.execute("update t set v = 'w' where id = 41")
    world.source.execute("update t set id = 43 where id = 41")
    world.source.execute("insert into t values (41, 'new', 41); update t set v = 'q' where id = 42")
    status = wait_parked(relay, 4)
    wait_applied(world, "select v from t where id = 42", "q")
    assert world.target.one("select count(*) from t where id in (41, 43)") == 0, "a parked key was touched"
    assert world.target.one("select count(*) from t where id between 100 and 3000") == 2901
    assert status["health"]["state"] in ("ok", "catching_up") and "4 changes are parked" in status["health"]["why"]
    assert word in status["last_error"]["message"] and relay.get("/readyz")[0] == 200
    assert f'millrace_parked_rows{{pipeline="{relay.name}"}} 4' in relay.get("/metrics")[1]

    one, = letters(relay)
    assert one["table"] == "public.t" and one["key"] == {"id": "41"} and one["behind"] == 3
    assert one["operation"] == "insert" and one["reason"] == "failed" and word in one["error"]
    assert [letter["reason"] for letter in letters(relay, "--each")] == ["failed"] + 3 * ["behind"]
    text = relay.command("letters", "list").stdout + relay.command("letters", "show", one["id"]).stdout
    assert "41" in text and word in text and SECRET not in text + relay.log_text()
    shown = json.loads(relay.command("letters", "show", one["id"], "--values").stdout)
    assert shown["change"]["after"]["v"] == v.strip("'")

    world.target.execute(mend)
    with recovery():
        retry_all(relay)
        world.wait_same("t")
    wait_status = relay.wait_status(lambda s: s["parked"] == 0 or s["lag"]["bytes"] == 0, 30)
    assert wait_status and letters(relay) == []
    world.source.execute("update t set v = 'free' where id in (41, 43)")
    world.wait_same("t")
    wait_parked(relay, 0)


def test_a_mapping_that_does_not_take_a_value(world):
    """The expression fails for one row; the row is corrected at the source, and the retry needs no other help."""
    world.source.execute("create table public.t (id int primary key, v text)")
    world.target.execute("create table public.t (id int primary key, number int)")
    relay = world.relay([{"from": "public.t", "map": {"number": "v::int", "v": None}}], config=PARK)
    relay.setup()
    relay.start(ready=True)
    world.source.execute("insert into t values (1, '1'), (2, 'two'), (3, '3')")
    wait_parked(relay, 1)
    wait_applied(world, "select count(*) from t", 2)
    done = relay.command("letters", "retry", "--all")
    assert done.returncode == 1 and "22P02" in last_line(done.stderr) and "two" not in done.stderr
    world.source.execute("update t set v = '2' where id = 2")
    wait_parked(relay, 2)
    retry_all(relay)
    world.wait_same(("(select id, v::int as number from t) x", "t"))


def test_children_of_a_parked_parent(world):
    relay = parking(world, "create table public.p (id int primary key, n int); "
                    "create table public.c (id int primary key, p int references public.p)",
                    ["public.p", "public.c"])
    world.target.execute("alter table p add constraint small check (n < 10)")
    world.source.execute("insert into p values (1, 1), (2, 20); insert into c values (1, 1), (2, 2)")
    wait_parked(relay, 2)
    wait_applied(world, "select count(*) from c", 1)
    world.target.execute("alter table p drop constraint small")
    retry_all(relay)
    world.wait_same("p", "c")


def test_killed_around_parking_under_load(world, recovery):
    """kill -9 while rows are parked: each letter once, the other tables never torn, and equal after the retry."""
    init_tpcb(world.source, world.target, accounts=50)
    world.both(DDL)
    relay = stream_of(world, TABLES + ["public.t"], config=PARK)
    world.target.execute("alter table t add constraint small check (n < 900)")
    relay.start(ready=True)
    oracle = TornStateOracle(world.target, pause_s=0.002).start()
    bench = Pgbench(world.source, seconds=10, clients=2, script=small_tpcb(50), rate=400)
    stop = threading.Event()
    writer = threading.Thread(target=write_randomly, args=(world, stop, 30))
    writer.start()
    recovery.tries = 0
    while bench.running():
        time.sleep(random.uniform(0.3, 1.2))
        relay.kill()
        recovery.tries += 1
        with recovery():
            relay.start(ready=True)
    bench.wait()
    stop.set()
    writer.join()
    world.wait_same(*TABLES, timeout_s=60)
    oracle.assert_never_torn(100)
    relay.wait_status(lambda s: s["lag"]["bytes"] == 0, 60, "caught up")
    count, versions = world.target.execute("select count(*), count(distinct version) from millrace.parked")[0]
    assert count == versions > 0, f"{count} letters of {versions} changes"
    world.target.execute("alter table t drop constraint small")
    retry_all(relay)
    world.wait_same("t")


def write_randomly(world, stop, keys):
    """Inserts, updates, deletes and changes of keys; one value in five is bad. Ends when told to."""
    dice = random.Random(7)
    connection = world.source.connect()
    with connection.cursor() as cursor:
        while not stop.is_set():
            a, b, n = dice.randrange(keys), dice.randrange(keys), dice.randrange(1125)
            cursor.execute("insert into t values (%s, %s, %s) on conflict (id) do update set n = excluded.n", (a, "v" * a, n))
            what = dice.randrange(6)
            if what == 0:
                cursor.execute("delete from t where id = %s", (b,))
            elif what == 1:
                cursor.execute("update t set id = %s where id = %s and not exists (select 1 from t where id = %s)", (b, a, b))
            time.sleep(0.002)
    connection.close()


def test_retry_beside_the_running_relay(world):
    """Retries and changes of the same keys race; nothing is lost or turned back, and the last retry leaves nothing."""
    relay = parking(world)
    world.target.execute("alter table t add constraint small check (n < 900)")
    stop = threading.Event()
    writer = threading.Thread(target=write_randomly, args=(world, stop, 20))
    writer.start()
    wait_until(lambda: (relay.status() or {}).get("parked", 0) > 5, 30, "something is parked", 0.1)
    enough, deadline, freed = time.monotonic() + 8, time.monotonic() + PATIENCE_S, 0
    while time.monotonic() < (enough if freed > 2 else deadline):
        done = relay.command("letters", "retry", "--all")
        assert done.returncode in (0, 1), done.stderr
        freed += "applied=0" not in done.stderr
        assert relay.running()
    stop.set()
    writer.join()
    assert freed > 2, "no retry got anywhere while changes came"
    relay.wait_status(lambda s: s["lag"]["bytes"] == 0, 60, "caught up")
    world.target.execute("alter table t drop constraint small")
    retry_all(relay)
    world.wait_same("t")
    world.source.execute("update t set v = 'end'")
    world.wait_same("t")
    wait_parked(relay, 0)


def test_a_newer_row_is_not_overwritten(world):
    relay = parking(world)
    world.target.execute("alter table t add constraint small check (n < 10)")
    world.source.execute("insert into t values (1, 'old', 100)")
    wait_parked(relay, 1)
    world.target.execute("alter table t drop constraint small; insert into t values (1, 'newer', 5); "
                         r"update t set _millrace = '\xffffffff000000000000000000000000' where id = 1")
    retry_all(relay)
    assert world.target.execute("select v, n from t") == [("newer", 5)] and letters(relay) == []


def test_drop(world):
    relay = parking(world)
    world.target.execute("alter table t add constraint small check (n < 10)")
    world.source.execute("insert into t values (1, 'a', 100), (2, 'b', 100), (3, 'c', 100)")
    wait_parked(relay, 3)
    world.source.execute("update t set n = n - 95; update t set v = 'dd' where id = 2")
    wait_parked(relay, 7)
    assert relay.command("letters", "drop").returncode == 2
    assert relay.command("letters", "drop", "--all").returncode == 2
    assert relay.command("letters", "drop", 999999).returncode == 3
    first = letters(relay)[0]
    assert first["key"] == {"id": "1"} and first["behind"] == 1
    done = relay.command("letters", "drop", first["id"], "--why", "a test row")
    assert done.returncode == 0 and "differs from the source" in done.stderr, done.stderr
    assert relay.command("letters", "retry", "--key", "public.t", "1").returncode == 0
    assert relay.command("letters", "drop", "--key", "public.t", "2").returncode == 0
    assert [letter["key"] for letter in letters(relay)] == [{"id": "3"}]
    assert world.target.execute("select id, v, n from t") == [(1, "a", 5)]
    journal = world.target.execute("select who, what from millrace.journal order by id")
    assert len(journal) == 4 and "a test row" in journal[0][1] and "@" in journal[0][0]
    world.source.execute("update t set v = 'later'")  # 2 is free, and travels as a whole row
    wait_applied(world, "select count(*) from t where v = 'later'", 2)
    assert relay.command("letters", "drop", "--all", "--yes").returncode == 0
    world.source.execute("update t set v = 'last'")
    world.wait_same("t")


def test_truncate_makes_letters_moot(world):
    relay = parking(world)
    world.target.execute("alter table t add constraint small check (n < 10)")
    world.source.execute("insert into t values (1, 'a', 100)")
    wait_parked(relay, 1)
    world.source.execute("truncate t; insert into t values (1, 'after', 1)")
    world.wait_same("t")
    wait_parked(relay, 0)
    assert letters(relay) == []


def test_too_many_stop_it(world):
    relay = parking(world, max_parked=5)
    world.target.execute("alter table t add constraint small check (n < 10)")
    world.source.execute("insert into t select g, 'a', 100 from generate_series(1, 5) g")
    wait_parked(relay, 5)
    world.source.execute("insert into t values (6, 'a', 1), (7, 'a', 100), (8, 'a', 8)")
    status = relay.wait_status(lambda s: s["health"]["state"] == "stopped", 30, "health is stopped")
    assert "target.max_parked" in status["health"]["why"] and "(7)" in status["health"]["why"]
    assert world.target.one("select count(*) from t") == 0 and relay.running()
    world.target.execute("alter table t drop constraint small")
    retry_all(relay)
    world.wait_same("t")
    relay.wait_status(lambda s: s["health"]["state"] == "ok" and s["parked"] == 0, 30, "ok again")


def test_stop_keeps_what_is_parked_in_order(world):
    """Back under `stop`, a parked key still holds its changes back; new bad rows stop the pipeline."""
    relay = parking(world)
    world.target.execute("alter table t add constraint small check (n < 10)")
    world.source.execute("insert into t values (1, 'a', 100)")
    wait_parked(relay, 1)
    relay.stop()
    relay.reconfigure(target={"on_bad_row": "stop"})
    relay.start(ready=True)
    world.source.execute("delete from t where id = 1; insert into t values (2, 'b', 1)")
    wait_parked(relay, 2)
    wait_applied(world, "select count(*) from t", 1)
    world.source.execute("insert into t values (3, 'c', 100)")
    relay.wait_status(lambda s: s["health"]["state"] == "stopped", 30, "health is stopped")
    world.target.execute("alter table t drop constraint small")
    retry_all(relay)
    world.wait_same("t")


def test_without_its_table_nothing_starts(world):
    relay = stream_of(world, ["public.t"], DDL)
    relay.reconfigure(setup="manual", **PARK)
    done = relay.command("check")
    assert done.returncode == 3 and "millrace.parked" in done.stdout and "millrace setup" in done.stdout
    done = relay.command("run", "--until-caught-up")
    assert done.returncode == 1 and "millrace setup" in last_line(done.stderr)
    assert relay.command("letters", "list").returncode == 0  # nothing is parked where nothing can be
    relay.setup()
    assert relay.command("check").returncode == 0
    relay.catch_up()
