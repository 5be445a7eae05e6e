"""415 `on_bad_row: park` while history is copied: the row becomes a letter, the copy goes on, and what the stream brings of
its key waits behind it."""
import json

from support.children import wait_until
from support.relay import merge

DDL = "create table public.t (id int primary key, v text, n int)"
CONFIG = {"target": {"on_bad_row": "park"}, "backfill": {"on_start": True, "chunk_time": "50ms"}}


def copying(world, rows=3000, ddl=DDL, tables=("public.t",), config=None, **options):
    world.both(ddl)
    world.source.execute(f"insert into t select i, 'x', i from generate_series(1, {rows}) i")
    return world.relay(list(tables), config=merge(CONFIG, config or {}), **options)


def letters(relay, *arguments):
    done = relay.command("letters", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def job(relay):
    return json.loads(relay.command("backfill", "status", "--json").stdout)["jobs"][-1]


def wait_done(relay, parked):
    relay.wait_status(lambda s: s["backfill"]["state"] == "done" and s["parked"] == parked, 60,
                      f"the copy ends with {parked} parked")


def retry_and_compare(world, relay):
    done = relay.command("letters", "retry", "--all")
    assert done.returncode == 0, done.stderr
    world.wait_same("t")
    assert letters(relay) == []
    relay.stop()
    relay.catch_up()
    world.assert_same("t")


def later_changes(world, mutate):
    """Rows that the copy parks, and then changes of them that would go: they must wait."""
    relay = copying(world, env={"MILLRACE_MUTATE": mutate})
    world.source.execute("update t set v = 'much too long' where id in (41, 42, 43, 44, 2999)")
    world.target.execute("alter table t add constraint short check (length(v) < 5)")
    relay.start(ready=True)
    wait_done(relay, 5)
    assert world.target.one("select count(*) from t") == 2995 and job(relay)["rows"] == 3000
    world.source.execute("update t set v = 'good' where id = 41; delete from t where id = 42; "
                         "update t set id = 9043, v = 'good' where id = 43; insert into t values (42, 'new', 0); "
                         "insert into t values (9999, 'mark', 0)")
    wait_until(lambda: world.target.one("select count(*) from t where id = 9999") == 1, 30, "the stream is applied")
    return relay


def test_the_copy_goes_on_and_later_changes_wait(world):
    relay = later_changes(world, "")
    assert world.target.one("select count(*) from t where id in (41, 42, 43, 44, 2999, 9043)") == 0
    found = {one["key"]["id"]: one for one in letters(relay)}
    assert set(found) == {"41", "42", "43", "44", "2999"}
    assert [found[key]["behind"] for key in ("41", "42", "43", "44")] == [1, 2, 1, 0]
    assert all(one["operation"] == "insert" and "short" in one["error"] for one in found.values())
    status = relay.status()
    assert status["parked"] == 9 and "9 changes are parked" in status["health"]["why"]
    assert "short" in status["last_error"]["message"]
    failed = relay.command("letters", "retry", "--key", "public.t", "44")
    assert failed.returncode == 1 and "short" in failed.stderr
    world.target.execute("alter table t drop constraint short")
    retry_and_compare(world, relay)


def test_without_the_rule_later_changes_pass(world):
    relay = later_changes(world, "no_parked_keys")
    assert world.target.one("select count(*) from t where id in (41, 42, 9043)") > 0, "the mutation was not noticed"
    assert relay.running()


def test_killed_while_a_row_is_parked(world):
    """The letter, the other rows and the job's progress are one transaction."""
    relay = copying(world)
    world.source.execute("update t set v = 'much too long' where id in (500, 1500, 2500)")
    world.target.execute("alter table t add constraint short check (length(v) < 5)")
    for point in ("backfill_chunk@1", "backfill_written@1", "backfill_chunk@2", "backfill_written@1"):
        relay.start(env={"MILLRACE_FAIL": point})
        assert relay.wait(60) == -9, point
    relay.start(ready=True)
    wait_done(relay, 3)
    assert sorted(one["key"]["id"] for one in letters(relay, "--each")) == ["1500", "2500", "500"]
    world.source.execute("update t set v = 'ok' where id = 1500")  # mended at the source: its correction counts
    relay.wait_status(lambda s: s["parked"] == 4, 30, "the correction waits")
    world.target.execute("alter table t drop constraint short")
    retry_and_compare(world, relay)


def test_what_the_stream_has_changed_meanwhile_is_not_parked(world):
    """The chunk was read, then its bad rows were corrected and deleted: the mapping fails for them before it can see that."""
    world.source.execute("create table public.t (id int primary key, v text)")
    world.target.execute("create table public.t (id int primary key, number int)")
    world.source.execute("insert into t select i, i::text from generate_series(1, 900) i; "
                         "update t set v = 'none' where id in (7, 8, 9)")
    relay = world.relay([{"from": "public.t", "map": {"number": "v::int", "v": None}}], config=CONFIG)
    relay.start(env={"MILLRACE_FAIL": "backfill_read:sleep:15000"}, ready=True)
    wait_until(lambda: world.source.one("select max(query_start) from pg_stat_activity where query like 'COPY (SELECT%' "
                                        "and state = 'idle'"), 20, "the chunk is read")
    world.source.execute("update t set v = '70' where id = 7; delete from t where id = 8; insert into t values (999, '999')")
    wait_until(lambda: world.target.execute("select id from t order by id") == [(7,), (999,)], 14, "the stream is ahead")
    assert job(relay)["rows"] == 0
    wait_done(relay, 1)
    assert [one["key"] for one in letters(relay)] == [{"id": "9"}]
    world.source.execute("update t set v = '9' where id = 9")
    relay.wait_status(lambda s: s["parked"] == 2, 30, "the correction waits")
    done = relay.command("letters", "retry", "--all")
    assert done.returncode == 0, done.stderr
    relay.stop()
    relay.catch_up()
    world.assert_same(("(select id, v::int as number from t) x", "t"))


def test_a_truncate_makes_the_letters_moot(world):
    relay = copying(world)
    world.source.execute("update t set v = 'much too long' where id = 5")
    world.target.execute("alter table t add constraint short check (length(v) < 5)")
    relay.start(ready=True)
    wait_done(relay, 1)
    world.source.execute("truncate t; insert into t values (5, 'new', 5)")
    world.wait_same("t")
    relay.wait_status(lambda s: s["parked"] == 0, 30, "nothing is parked")


def test_what_is_wrong_with_the_table_pauses_the_copy(world):
    """Half of target.max_parked is the stream's; and a row whose parent is not there waits for it, without a letter."""
    relay = copying(world, ddl=DDL + "; create table public.c (id int primary key, p int)", tables=("public.t", "public.c"),
                    config={"target": {"max_parked": 10}})
    world.source.execute("insert into c values (1, 3)")
    world.target.execute("alter table t add constraint none check (n > 2000); create table parent (id int primary key); "
                         "alter table c add foreign key (p) references parent (id)")
    relay.start(ready=True)

    def paused():
        found = {one["table"]: one for one in json.loads(relay.command("backfill", "status", "--json").stdout)["jobs"]}
        return found if all(one["state"] == "paused" for one in found.values()) and len(found) == 2 else None
    found = wait_until(paused, 60, "both copies are paused", 0.3)
    assert "no more than half of target.max_parked" in found["public.t"]["why"], found
    assert "23503" in found["public.c"]["why"]
    assert letters(relay) == [] and world.target.one("select count(*) from t") == 0, "half a chunk was kept"
    world.source.execute("insert into t values (5000, 'x', 5000)")
    wait_until(lambda: world.target.one("select count(*) from t") == 1, 30, "the stream goes on")
    world.target.execute("alter table t drop constraint none; insert into parent values (3)")
    assert relay.command("backfill", "resume").returncode == 0
    wait_done(relay, 0)
    relay.stop()
    relay.catch_up()
    world.assert_same("t", "c")
