"""420 Verify: source and target are compared row by row while both are written to.

Every kind of difference is planted under pgbench and found with its kind and column; without one there is no
false alarm, however often it is run; a commit that hangs at a standby is waited for, never a difference."""
import json
import os
import threading
import time

import pytest

from support.children import PATIENCE_S, wait_until
from support.load import TABLES, Pgbench, init_tpcb, small_tpcb
from support.postgres import Database
from support.world import stream_of

ACCOUNTS = 3000
RUNS = int(os.environ.get("MILLRACE_VERIFY_RUNS", "8"))


def verify(relay, *arguments, env=None, timeout_s=120, expect=None):
    """(exit code, report)."""
    done = relay.command("verify", "--json", *arguments, env=env, timeout_s=timeout_s)
    assert done.stdout, f"verify: {done.returncode}\n{done.stderr}"
    assert expect is None or done.returncode == expect, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.returncode, json.loads(done.stdout)


def table_of(report, table):
    return next(one for one in report["tables"] if one["table"] == table)


def found(report):
    return sorted((one["table"], tuple(one["key"].values()), one["kind"], tuple(one["columns"]))
                  for one in report["differences"])


def tpcb(world):
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    relay = world.relay(TABLES)
    relay.setup()
    return relay.start(ready=True)


def test_no_false_alarm_under_load(world):
    """A row counts as equal only when it rested; one that never does is unresolved, and never a difference."""
    relay = tpcb(world)
    load = Pgbench(world.source, seconds=600 + 60 * RUNS, rate=300, script=small_tpcb(ACCOUNTS))
    try:
        changed = 0
        for run in range(RUNS):
            code, report = verify(relay, "--rounds", 4)
            assert code in (0, 1) and not report["differences"], (run, report)
            accounts = table_of(report, "public.pgbench_accounts")
            assert accounts["compared"] == ACCOUNTS and accounts["equal"] == ACCOUNTS - accounts["unresolved"], report
            assert accounts["unresolved"] < ACCOUNTS / 10 and not accounts["why"], report
            assert code == 0 or any(t["unresolved"] or t["why"] for t in report["tables"]), report
            changed += table_of(report, "public.pgbench_branches")["unresolved"]
        assert load.running()
    finally:
        load.stop()
    code, report = verify(relay, expect=0)
    assert table_of(report, "public.pgbench_history")["equal"] == world.source.one("select count(*) from pgbench_history")
    assert report["outcome"] == "equal" and report["position"] > report["position_from"]


def test_rows_that_are_changing_would_be_false_alarms(world):
    """The rule behind the test above, switched off."""
    relay = tpcb(world)
    load = Pgbench(world.source, seconds=600, rate=300, script=small_tpcb(ACCOUNTS))
    try:
        def alarmed():
            return verify(relay, "--rounds", 2, env={"MILLRACE_MUTATE": "judge_changing"})[0] == 3
        wait_until(alarmed, 100, "a row that is changing is called different")
    finally:
        load.stop()


KINDS = """create table kinds (id int primary key, t text, n numeric, b bytea)"""


def test_every_kind_of_difference_is_found_under_load(world):
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    world.both(KINDS + """; create table mapped (id int primary key, amount numeric, note text)""")
    world.target.execute("alter table mapped rename amount to cents")
    relay = world.relay(TABLES + ["public.kinds", {"from": "public.mapped", "to": "public.mapped", "map": {
        "cents": "round(amount * 100)", "amount": None}}])
    relay.setup()
    relay.start(ready=True)
    world.source.execute("""insert into kinds select g, 'text ' || g, 1.0, decode(md5(g::text), 'hex') from generate_series(1, 500) g;
                            update kinds set t = '' where id = 4; insert into mapped select g, g, 'x' from generate_series(1, 50) g""")
    wait_until(lambda: world.target.one("select count(*) from mapped") == 50, 30, "the rows arrive")
    stale = world.target.execute("select t, _millrace from kinds where id = 5")[0]
    world.source.execute("update kinds set t = 'newer' where id = 5")
    wait_until(lambda: world.target.one("select t from kinds where id = 5") == "newer", 30, "the update arrives")
    load = Pgbench(world.source, seconds=600, rate=300, script=small_tpcb(ACCOUNTS))
    busy = Writer(world.source, "update kinds set n = n where id = 100 + (random() * 300)::int", 0.002)
    try:
        code, report = verify(relay, "--table", "kinds", "--table", "mapped")
        assert code in (0, 1) and not report["differences"], report  # 1: rows that never rested
        world.target.execute("""delete from kinds where id = 1; delete from pgbench_accounts where aid = 17;
            insert into kinds values (1000, 'extra', 1, ''); insert into kinds values (1001, 'x', 1, '', decode(repeat('00', 16), 'hex'));
            update kinds set b = set_byte(b, 3, get_byte(b, 3) # 1) where id = 3; update kinds set t = null where id = 4;
            update kinds set n = 1.00 where id = 6; update mapped set cents = cents / 100 where id = 7""")
        world.target.execute("update kinds set t = %s, _millrace = %s where id = 5", stale)
        code, report = verify(relay, "--rounds", 6, expect=3)
    finally:
        busy.stop()
        load.stop()
    expected = [("public.kinds", ("1",), "missing", ()), ("public.kinds", ("1000",), "extra", ()),
                ("public.kinds", ("1001",), "extra", ()), ("public.kinds", ("3",), "different", ("b",)),
                ("public.kinds", ("4",), "different", ("t",)), ("public.kinds", ("5",), "different", ("t",)),
                ("public.kinds", ("6",), "different", ("n",)), ("public.mapped", ("7",), "different", ("cents",)),
                ("public.pgbench_accounts", ("17",), "missing", ())]
    got = found(report)
    if ("public.pgbench_accounts", ("17",), "missing", ()) not in got:  # pgbench may have brought it back, or changes it
        expected.pop()
    assert got == sorted(expected), report
    kinds = table_of(report, "public.kinds")
    assert (kinds["missing"], kinds["extra"], kinds["different"]) == (1, 2, 4), kinds
    done = relay.command("verify", "--table", "kinds", "--show-values")
    assert done.returncode == 3 and "different public.kinds (id)=(6): n 1.0 | 1.00" in done.stdout, done.stdout
    assert "public.kinds" in done.stderr.splitlines()[-1], done.stderr


class Writer:
    """Runs one statement over and over on a connection of its own."""

    def __init__(self, server, sql, pause_s=0.0):
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._connection = server.connect()
        self._thread = threading.Thread(target=self._run, args=(sql,), daemon=True)
        self.runs = 0
        self._thread.start()

    def _run(self, sql):
        with self._connection.cursor() as cursor:
            while not self._stop.is_set():
                cursor.execute(sql)
                self.runs += 1
                time.sleep(self._pause_s)

    def stop(self):
        self._stop.set()
        self._thread.join(30)
        self._connection.close()


@pytest.mark.fault(19)
@pytest.mark.parametrize("rule", [None, "plain_lsn"])
def test_commit_that_hangs_at_a_standby_is_no_difference(world, rule):
    """The stream delivers it, snapshots do not see it: the row is older in the source than in the target."""
    relay = stream_of(world, ["public.t"], "create table public.t (id int primary key, v text)")
    world.source.execute("insert into t select g, 'old' from generate_series(1, 200) g")
    relay.start(ready=True)
    world.wait_same("t")
    server = world.source.server
    hanging = world.source.connect()
    world.source.execute("alter system set synchronous_standby_names = 'nobody'")
    world.source.execute("select pg_reload_conf()")
    try:
        wait_until(lambda: world.source.one("show synchronous_standby_names") == "nobody", 10, "the setting is in force")
        world.source.execute("checkpoint")  # commits wait when the checkpointer has seen it too

        def hang():
            with hanging.cursor() as cursor:
                cursor.execute("update t set v = 'new' where id in (7, 8); ")
        thread = threading.Thread(target=hang, daemon=True)
        thread.start()
        wait_until(lambda: world.target.one("select v from t where id = 7") == "new", 30, "the stream delivers it")
        assert world.source.one("select v from t where id = 7") == "old"
        code, report = verify(relay, "--wait", 3, env={"MILLRACE_MUTATE": rule} if rule else None)
        if rule:
            assert code == 3 and [one["key"]["id"] for one in report["differences"]] == ["7", "8"], report
        else:
            assert code == 1 and not report["differences"], report
            assert "SyncRep" in table_of(report, "public.t")["why"], report
    finally:
        world.source.execute("alter system reset synchronous_standby_names")
        world.source.execute("select pg_reload_conf()")
        thread.join(PATIENCE_S)
        hanging.close()
    assert server.child.running()
    verify(relay, expect=0)


def test_keys_names_partitions_and_mappings(world):
    world.source.execute("""
        create table composite (b text, a int, v json, primary key (a, b));
        create table uuids (id uuid primary key, at timestamptz, f float8, tags text[]);
        create table "Odd ""Name"" 1" ("Key, with 'all'" text primary key, "select" varchar(20), plain char(5));
        create table m (id int, region text, v int, primary key (id, region)) partition by list (region);
        create table m_eu partition of m for values in ('eu'); create table m_us partition of m for values in ('us');
        create table users (id bigint generated always as identity primary key, age int, name text, gone text,
                            twice int generated always as (age * 2) stored);
        create table nothing (id int primary key); create table plain (n int, t text); create table ticks (id bigserial primary key)""")
    world.target.execute("""
        create table composite (a int, b text, v json, primary key (a, b));
        create table uuids (id uuid primary key, at timestamptz, f float8, tags text[]);
        create table "Odd ""Name"" 1" ("Key, with 'all'" text primary key, "select" varchar(20), plain char(5));
        create table m (id int, region text, v int, primary key (id, region));
        create schema shop; create table shop.people (extra text default 'x', age numeric(10,2), user_id bigint primary key, label text,
                                                      n int generated always as (length(label)) stored);
        create table nothing (id int primary key); create table plain (n int, t text); create table ticks (id bigint primary key)""")
    tables = ["public.composite", "public.uuids", '"Odd ""Name"" 1"', "public.m", "public.nothing", "public.plain", "public.ticks",
              {"from": "public.users", "to": "shop.people", "where": "age >= 18 -- grown up",
               "map": {"user_id": "id", "label": "upper(name) || coalesce(':' || gone, '')", "id": None, "name": None, "gone": None}}]
    relay = stream_of(world, tables)
    relay.start(ready=True)
    world.source.execute(r"""
        insert into composite select chr(97 + g % 7) || '\"{}, ', g / 7, json_build_object('n', g) from generate_series(1, 700) g;
        insert into uuids select md5(g::text)::uuid, now() + g * interval '1 s', random(), array['a,b', null, g::text] from generate_series(1, 700) g;
        insert into "Odd ""Name"" 1" select 'k "' || g || '" \ {' || chr(228), nullif('v' || g % 3, 'v0'), g from generate_series(1, 700) g;
        insert into m select g, case when g % 3 = 0 then 'us' else 'eu' end, g from generate_series(1, 700) g;
        insert into users (age, name) select g % 60, 'n' || g from generate_series(1, 700) g;
        insert into plain select g, 'x' from generate_series(1, 700) g""")
    ticks = Writer(world.source, "insert into ticks default values", 0.003)  # an idle stream moves once a second
    try:
        compare_keys_and_names(world, relay)
    finally:
        ticks.stop()


def compare_keys_and_names(world, relay):
    code, report = verify(relay, "--chunk-rows", 50, expect=0)
    assert {one["table"]: one["compared"] for one in report["tables"] if one["table"] != "public.ticks"} == {
        "public.composite": 700, "public.uuids": 700, 'public."Odd ""Name"" 1"': 700, "public.m": 700, "public.nothing": 0,
        "public.plain": 700, "public.users": world.source.one("select count(*) from users where age >= 18")}
    world.target.execute(r"""
        update composite set v = '{"n":  5}' where (a, b) = (0, 'f\"{}, '); delete from uuids where id = md5('6')::uuid;
        update "Odd ""Name"" 1" set "select" = '' where "Key, with 'all'" = 'k "3" \ {' || chr(228); update m set v = 0 where id = 9;
        update shop.people set label = 'wrong', extra = 'not compared' where user_id = 20; insert into shop.people (user_id, age) values (5, 5);
        delete from plain where n = 3""")
    code, report = verify(relay, "--chunk-rows", 50, expect=3)
    assert found(report) == sorted([
        ("public.composite", ('f\\"{}, ', "0"), "different", ("v",)),
        ("public.uuids", (world.source.one("select md5('6')::uuid::text"),), "missing", ()),
        ('public."Odd ""Name"" 1"', ('k "3" \\ {ä',), "different", ("select",)),
        ("public.m", ("9", "us"), "different", ("v",)),
        ("public.users", ("20",), "different", ("label",)), ("public.users", ("5",), "extra", ())])
    assert table_of(report, "public.plain")["missing"] == 1
    code, report = verify(relay, "--counts", expect=3)
    assert sorted(kind for _, _, kind, _ in found(report)) == ["extra", "missing"]


def test_invariants_sample_and_refusals(world):
    relay = stream_of(world, ["public.t"], "create table public.t (id int primary key, balance int)")
    world.source.execute("insert into t select g, g from generate_series(1, 2000) g")
    relay.reconfigure(verify={"invariants": {"no debts": "select id from public.t where balance < 0", "sum": "select sum(balance) > 0 from public.t"}})
    relay.start(ready=True)
    world.wait_same("t")
    _, report = verify(relay, "--sample", "20%", "--seed", 5, "--chunk-rows", 20, expect=0)
    assert 100 < table_of(report, "public.t")["compared"] < 900 and report["seed"] == 5, report
    _, again = verify(relay, "--sample", "20%", "--seed", 5, "--chunk-rows", 20, "--report", relay.folder / "report.json", expect=0)
    assert table_of(report, "public.t") == table_of(again, "public.t")
    assert json.loads((relay.folder / "report.json").read_text()) == again
    assert [one["holds"] for one in report["invariants"]] == [True, True]
    world.source.execute("update t set balance = -5 where id in (3, 4)")
    world.wait_same("t")
    _, report = verify(relay, expect=3)
    examples = [{"id": "3"}, {"id": "4"}]
    assert report["invariants"] == [{"name": "no debts", "holds": False, "rows": 2, "why": None, "examples": examples},
                                    {"name": "sum", "holds": True, "rows": 0, "why": None, "examples": []}], report
    done = relay.command("verify")
    assert "invariant no debts: violated (2 rows)\n  (id)=(3)\n  (id)=(4)\n" in done.stdout, done.stdout
    assert "repair" not in done.stderr, "no row differs"
    relay.reconfigure(verify={"invariants": {"no debts": "select id from t", "sum": None}})
    _, report = verify(relay, expect=1)
    assert "does not exist" in report["invariants"][0]["why"] and table_of(report, "public.t")["equal"] == 2000
    for arguments, says in [(["--table", "public.other"], "public.other is not in the pipeline"), (["--sample", "0%"], "--sample")]:
        done = relay.command("verify", *arguments)
        assert done.returncode == 2 and says in done.stderr, done.stderr
    relay.stop()
    world.target.execute("insert into t values (5000, 1)")
    for text in ("x", "5y", "nan", "-1", "2d"):
        refused = relay.command("verify", "--wait", text)
        assert refused.returncode == 2 and "--wait" in refused.stderr, refused.stderr
    done = relay.command("verify", "--wait", "1000ms")
    assert done.returncode == 1 and "did not move for 1 s" in done.stderr and "millrace run" in done.stderr, done.stderr
    world.target.execute("alter table t drop column _millrace")
    done = relay.command("verify")
    assert done.returncode == 1 and "_millrace: it was not set up" in done.stderr, done.stderr


def test_other_encoding_and_other_order(world):
    """Bytes, and so hashes, are others; and so is the order by which chunks are cut."""
    server = world.servers.get("target")
    server.execute("create database latin encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'")
    world.target.drop_connection()
    world.target = Database(server, "latin")
    world.source.execute("create table public.t (k text primary key, v text)")
    world.target.execute('create table public.t (k text collate "und-x-icu" primary key, v text)')
    relay = stream_of(world, ["public.t"])
    world.source.execute("""insert into t select case when g % 2 = 0 then chr(228) || upper(md5(g::text)) else md5(g::text) end, chr(246) || g
                            from generate_series(1, 600) g""")
    relay.start(ready=True)
    wait_until(lambda: world.target.one("select count(*) from t") == 600, 30, "the rows arrive")
    code, report = verify(relay, "--chunk-rows", 40, expect=0)
    assert table_of(report, "public.t")["equal"] == 600
    world.target.execute("update t set v = 'o' || substr(v, 2) where v = chr(246) || '77'")
    code, report = verify(relay, "--chunk-rows", 40, expect=3)
    assert [(one["kind"], one["columns"]) for one in report["differences"]] == [("different", ["v"])], report
