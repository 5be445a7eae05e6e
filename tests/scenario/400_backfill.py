"""400 Rows that were at the source before the stream: copied beside it, exactly, whatever dies meanwhile.

The source is filled and changes while the copy runs; the target begins empty. In the end both are equal, row by row."""
import json
import subprocess
import threading

import psycopg2

import pytest

from support.children import wait_until
from support.kills import failpoints
from support.load import Pgbench
from support.relay import merge
from support.world import last_line

ON = {"backfill": {"on_start": True, "chunk_time": "50ms"}}
ONCE = {"backfill_start"}  # a job reaches it once


def deadly():
    """Every step of a copy, at its second time and then at its first."""
    points = [point for point in failpoints() if point.startswith("backfill_")]
    assert len(points) > 4 and ONCE <= set(points)
    return [f"{point}@1" for point in points if point in ONCE] + [
        f"{point}@{count}" for count in (2, 1) for point in points if point not in ONCE]


def copying(world, tables, config=None, **options):
    return world.relay(tables, config=merge(ON, config or {}), **options)


def jobs(relay):
    done = relay.command("backfill", "status", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def job_of(relay, table):
    return [job for job in jobs(relay)["jobs"] if job["table"] == table][-1]


class Changes:
    """A session that runs statements over and over, with a counter, until it is stopped."""

    def __init__(self, source, statements):
        self.source, self.statements, self.rounds, self.error = source, statements, 0, None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        connection = self.source.connect()
        try:
            with connection.cursor() as cursor:
                while not self.ended.wait(0.005):
                    for statement in self.statements:
                        cursor.execute(statement.replace("{n}", str(self.rounds)))
                    self.rounds += 1
        except psycopg2.Error as error:
            self.error = error
        finally:
            connection.close()

    def stop(self):
        self.ended.set()
        self.thread.join(30)
        assert self.error is None and self.rounds > 0, self.error


SHAPES = """
create table public.composite (b text collate "en_US", a int, v text, primary key (a, b));
create table public.uuids (id uuid primary key, v text);
create table public.words (w text collate "C" primary key, v text);
create table public."Odd ""Name" ("K ey" int primary key, "v,x" text);
create table public.parts (id int, at int, v text, primary key (id, at)) partition by range (at);
create table public.parts_1 partition of public.parts for values from (0) to (500);
create table public.parts_2 partition of public.parts for values from (500) to (100000);
create table public.nothing (id int primary key);
create table public.indexed (a int not null, b int, v text, g int generated always as (a * 2) stored);
create unique index indexed_a on public.indexed (a);
alter table public.indexed replica identity using index indexed_a;
create table public.keyless (n int);
""".replace('collate "en_US"', 'collate "und-x-icu"')
SHAPES_TABLES = ["public.composite", "public.uuids", "public.words", 'public."Odd ""Name"', "public.parts",
                 "public.nothing", "public.indexed"]
FILL = """
insert into composite select chr(97 + i % 26) || i, i / 7, E'tab\\there\\nand \\\\ ' || i from generate_series(1, 3000) i;
insert into uuids select md5(i::text)::uuid, 'v' || i from generate_series(1, 3000) i;
insert into words select case when i % 2 = 0 then 'A' else 'a' end || i, null from generate_series(1, 3000) i;
insert into "Odd ""Name" select i, 'x' || i from generate_series(1, 500) i;
insert into parts select i, i, 'p' from generate_series(1, 3000) i;
insert into indexed (a, b, v) select i, i % 5, repeat('w', i % 50) from generate_series(1, 3000) i;
insert into keyless select generate_series(1, 10);
"""
CHANGES = ["update composite set v = 'new {n}' where a = {n} % 400", "delete from uuids where id = md5(({n} % 3000)::text)::uuid",
           "insert into words values ('new {n}', 'x')", "delete from parts where id = {n} % 3000",
           "update indexed set a = a + 100000 where a = {n} % 3000",
           "update \"Odd \"\"Name\" set \"v,x\" = '{n}' where \"K ey\" = {n} % 500"]


@pytest.mark.fault(1)
def test_any_key_and_killed_at_every_step(world):
    world.both(SHAPES)
    world.source.execute(FILL)
    relay = copying(world, SHAPES_TABLES + ["public.keyless"])
    changes = Changes(world.source, CHANGES)
    copied = {}
    for point in deadly():
        relay.start(env={"MILLRACE_FAIL": point})
        assert relay.wait(60) == -9, f"{point} was not reached: {last_line(relay.log_text())}"
        for job in jobs(relay)["jobs"]:
            assert job["rows"] >= copied.get(job["table"], 0), f"{job['table']} began anew after {point}"
            copied[job["table"]] = job["rows"]
    assert sum(copied.values()) > 0, "no chunk was written before a kill"
    relay.start(ready=True)
    wait_until(lambda: not any(job["state"] in ("waiting", "running") for job in jobs(relay)["jobs"]), 60,
               "every copy has ended")
    changes.stop()
    relay.stop()
    relay.catch_up()
    world.assert_same(*SHAPES_TABLES)
    assert {job["table"] for job in jobs(relay)["jobs"]} == set(SHAPES_TABLES)
    assert jobs(relay)["consistent"]
    assert "not copied: a table without a key" in relay.log_text() and "public.keyless" in relay.log_text()
    assert world.target.one("select count(*) from keyless") == 0
    relay.catch_up()  # and nothing is copied twice
    assert len(jobs(relay)["jobs"]) == len(SHAPES_TABLES)


def test_under_pgbench(world):
    """The whole of what a user does: one command on a filled source."""
    subprocess.run([world.source.bin / "pgbench", "-i", "-q", "-s", "1", world.source.dsn()], check=True, capture_output=True)
    subprocess.run([world.target.bin / "pgbench", "-i", "-I", "dtp", "-q", world.target.dsn()], check=True,
                   capture_output=True)
    tables = [f"public.pgbench_{name}" for name in ("accounts", "branches", "tellers", "history")]
    relay = copying(world, tables)
    relay.setup()  # pgbench_history has no key, and comes by the stream alone
    bench = Pgbench(world.source, seconds=1200, rate=300)
    try:
        relay.start(ready=True)
        for _ in range(3):
            wait_until(lambda: world.target.one("select count(*) from pgbench_accounts") > 0, 30, "rows arrive")
            relay.kill()
            world.source.wait_slot_free(relay.slot)
            relay.start(ready=True)
        wait_until(lambda: world.target.one("select count(*) from pgbench_accounts") == 100_000, 60, "all accounts are there")
        relay.wait_status(lambda s: s["backfill"]["state"] == "done", what="the copy ends")
        assert bench.running(), "the load ended before the copy"
    finally:
        bench.stop()
    relay.stop()
    relay.catch_up()
    world.assert_same(*tables[:3])  # history has no key: only what came since there is a slot


def delete_behind_a_snapshot(world, mutate):
    """A chunk is read and stands still; what it has is deleted and changed; then it is written."""
    world.both("create table public.t (id int primary key, v text)")
    world.source.execute("insert into t select i, 'v' from generate_series(1, 900) i")
    relay = copying(world, ["public.t"], env={"MILLRACE_MUTATE": mutate})
    hold = relay.folder / "hold"
    hold.touch()
    relay.start(env={"MILLRACE_FAIL": f"backfill_read:hold:{hold}"}, ready=True)
    wait_until(lambda: "failpoint backfill_read@1 fires" in relay.log_text(), what="the chunk is read")
    world.source.execute("delete from t where id <= 10; update t set v = 'new' where id = 11; insert into t values (999, 'x')")
    wait_until(lambda: world.target.execute("select id from t where id in (1, 11, 999) order by id") == [(11,), (999,)],
               what="the stream is ahead of the chunk")
    assert job_of(relay, "public.t")["rows"] == 0
    hold.unlink()
    relay.wait_status(lambda s: s["backfill"]["state"] == "done", what="the chunk is written")
    relay.stop()
    relay.catch_up()
    return world.differences("t")


def test_a_delete_behind_the_snapshot_stays(world):
    assert delete_behind_a_snapshot(world, "") == []


def test_without_tombstones_it_comes_back(world):
    found = delete_behind_a_snapshot(world, "no_tombstones")
    assert found and "only at the target: [('1', 'v')" in found[0]


def test_truncate_sends_the_copy_back(world):
    """The second chunk is read and stands still; the table is emptied; then it is written, and must not be."""
    world.both("create table public.t (id int primary key, v text)")
    world.source.execute("insert into t select i, 'old' from generate_series(1, 3000) i")
    relay = copying(world, ["public.t"])
    hold = relay.folder / "hold"
    hold.touch()
    relay.start(env={"MILLRACE_FAIL": f"backfill_read@2:hold:{hold}"}, ready=True)
    wait_until(lambda: world.target.one("select count(*) from t") == 1000 and
               "failpoint backfill_read@2 fires" in relay.log_text(), what="the first chunk is there, the second is read")
    world.source.execute("truncate t; insert into t values (3, 'new'), (30000, 'new')")
    wait_until(lambda: world.target.execute("select id from t order by id") == [(3,), (30000,)], what="the truncate")
    hold.unlink()
    relay.wait_status(lambda s: s["backfill"]["state"] == "done", what="the copy ends")
    assert job_of(relay, "public.t")["restarts"] == 1
    relay.stop()
    relay.catch_up()
    world.assert_same("t")


def test_large_values_that_the_stream_leaves_out(world):
    world.both("create table public.t (id int primary key, n int, big text);"
               "alter table public.t alter column big set storage external")
    world.source.execute("insert into t select i, 0, repeat(md5(i::text), 200) from generate_series(1, 300) i;"
                         "create table public.hold (n int); insert into hold values (1)")
    relay = copying(world, ["public.t"], {"backfill": {"throttle": {"sql": "select n from public.hold"}}})
    relay.start(ready=True)
    relay.wait_status(lambda s: s["backfill"]["state"] == "throttled", what="the throttle")
    world.source.execute("update t set n = 1 where id % 3 = 0; delete from t where id % 7 = 0; "
                         "update t set id = id + 1000 where id % 5 = 0")
    wait_until(lambda: world.target.one("select count(*) from t where n = 1 and length(big) = 6400") > 0, 30,
               "a partial update is made whole before its chunk")
    world.source.execute("update hold set n = 0")
    relay.stop()
    relay.catch_up()
    world.assert_same("t")


def test_steering(world):
    world.both("create table public.t (id int primary key, v text); create table public.k (n int)")
    world.source.execute("insert into t select i, 'v' from generate_series(1, 3000) i;"
                         "create table public.hold (n text); insert into hold values ('the shop is busy'); analyze t")
    relay = copying(world, ["public.t", "public.k"], {"backfill": {"throttle": {"sql": "select n from public.hold"}}})
    relay.start(ready=True)
    status = relay.wait_status(lambda s: s["backfill"]["state"] == "throttled", what="the throttle")
    assert status["backfill"]["why"] == "the shop is busy" and status["backfill"]["table"] == "public.t"
    for words in (["status"], ["backfill", "status"]):
        said = relay.command(*words).stdout
        assert "throttled" in said and "the shop is busy" in said, said
    for words, why, code in ((["start", "--table", "t"], "open copy already", 4),
                             (["start", "--table", "nope"], "`tables` has no public.nope", 2),
                             (["start", "--table", "k"], "no key", 2)):
        refused = relay.command("backfill", *words)
        assert refused.returncode == code and why in refused.stderr, refused.stderr
    assert relay.command("backfill", "pause", "--table", "t").returncode == 0
    relay.wait_status(lambda s: s["backfill"]["state"] == "paused", timeout_s=5, what="paused")
    for words in (["status"], ["backfill", "status"]):
        said = relay.command(*words).stdout
        assert "paused" in said and "`millrace backfill resume --table public.t -c " in said, said
    assert relay.command("backfill", "pause").returncode == 3
    assert relay.command("backfill", "cancel").returncode == 0
    relay.wait_status(lambda s: s["backfill"]["state"] == "done", timeout_s=5, what="cancelled")
    assert world.target.one("select count(*) from t") == 0
    for words, why in ((["--after", "[1"], "not a key"), (["--after", "x"], "invalid input syntax"),
                       (["--after", "[1, 2]"], "key of 1 columns"), (["--where", "no such"], "syntax error")):
        refused = relay.command("backfill", "start", "--table", "t", *words)
        assert refused.returncode == 2 and why in refused.stderr, (words, refused.stderr)
    assert len(jobs(relay)["jobs"]) == 1
    dry = relay.command("backfill", "start", "--table", "t", "--dry-run", "--json")
    assert json.loads(dry.stdout)["tables"][0]["rows_estimated"] == 3000 and len(jobs(relay)["jobs"]) == 1
    world.source.execute("update hold set n = ''")
    done = relay.command("backfill", "start", "--table", "t", "--after", "100", "--until", "[200]", "--where", "id % 2 = 0")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: job_of(relay, "public.t")["state"] == "done", 20, "the part is copied")
    assert world.target.execute("select count(*), min(id), max(id) from t") == [(50, 102, 200)]
    world.target.execute("update t set v = 'damaged' where id = 150")
    world.source.execute("update hold set n = 'hold'")
    assert relay.command("backfill", "start", "--table", "t", "--replace").returncode == 0
    relay.wait_status(lambda s: s["backfill"]["state"] == "throttled", what="the throttle again")
    assert relay.command("backfill", "pause").returncode == 0 and relay.command("backfill", "resume").returncode == 0
    world.source.execute("update hold set n = ''")
    relay.stop()
    relay.catch_up()
    world.assert_same("t")


def test_rows_that_nobody_copied(world):
    world.both("create table public.t (id int primary key, v text)")
    world.source.execute("insert into t select i, 'source' from generate_series(1, 10) i")
    world.target.execute("insert into t values (3, 'target')")
    relay = copying(world, ["public.t"])
    refused = relay.command("run", "--until-caught-up")
    assert refused.returncode == 4 and "backfill.on_existing: keep" in refused.stderr
    assert world.target.one("select count(*) from t") == 1 and not jobs(relay)["jobs"]
    relay.reconfigure(backfill={"on_existing": "keep"})
    relay.catch_up()
    assert world.target.execute("select v, count(*) from t group by v order by v") == [("source", 9), ("target", 1)]


def test_a_table_that_is_added_later(world):
    world.both("create table public.a (id int primary key); create table public.b (id int primary key)")
    world.source.execute("insert into a values (1); insert into b values (1), (2)")
    relay = copying(world, ["public.a"])
    relay.catch_up()
    world.source.execute("insert into a values (2)")
    relay.catch_up()
    world.assert_same("a")
    relay.reconfigure(tables=["public.a", "public.b"])
    relay.catch_up()
    world.assert_same("a", "b")
    assert job_of(relay, "public.b")["kind"] == "again"


def test_roles_over_kafka(world):
    world.both("create table public.t (id int primary key, v text)")
    world.source.execute("insert into t select i, 'v' from generate_series(1, 5000) i")
    relay = copying(world, ["public.t"], kafka=True)
    relay.start("capture", ready=True).start("apply")
    changes = Changes(world.source, ["update t set v = '{n}' where id = {n} % 5000", "delete from t where id = 5000 - {n}"])
    wait_until(lambda: world.target.one("select count(*) from t") > 1000, 30, "rows arrive")
    relay.kill("apply")
    relay.start("apply")
    relay.wait_status(lambda s: s["backfill"]["state"] == "done", role="apply", what="the copy ends")
    changes.stop()
    world.wait_same("t", timeout_s=60)
