"""430 Repair: the rows that a report of verify names are brought over again, under versions, beside the live stream.

Rows are damaged at the target in every way; what nobody asked for stays, what the stream brings meanwhile wins,
and a report that does not speak of the pipeline as it is now changes nothing."""
import json
import signal
import subprocess
import threading

import pytest

from support.children import PATIENCE_S, wait_until
from support.load import TABLES, Pgbench, init_tpcb, small_tpcb
from support.relay import binary
from support.world import stream_of

ACCOUNTS, BUSY = 3000, 2000  # pgbench changes the first BUSY
T = "create table public.t (id int primary key, v text)"


def verify(relay, *arguments, expect=3):
    report = relay.folder / "verify.json"
    done = relay.command("verify", "--report", report, *arguments, timeout_s=120)
    assert done.returncode == expect, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return report


def repair(relay, *arguments, expect=0, report=None):
    """What it says it did."""
    done = relay.command("repair", "--json", "--report", report or relay.folder / "verify.json", *arguments, timeout_s=120)
    assert done.returncode == expect, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def actions(done):
    return sorted((table["table"], tuple(key["key"].values()), key["action"])
                  for table in done["tables"] for key in table["keys"])


def keys_jobs(world):
    if world.target.one("select to_regclass('millrace.progress')") is None:
        return []
    return world.target.execute("select source_table, state, who from millrace.progress where kind = 'keys' order by id")


def journal(world):
    return [row[0] for row in world.target.execute("select what from millrace.journal where what like 'repair%' order by at")]


def rows(world):
    return world.target.execute("select * from t order by id") + world.target.execute("select * from kk order by at, b")


def test_damage_of_every_kind_under_load(world):
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    world.both(T)
    world.source.execute("create table public.k (b bytea, at timestamptz, v text, primary key (at, b))")
    world.target.execute("create table public.kk (at timestamptz, b bytea, note text, primary key (at, b))")
    relay = world.relay(TABLES + ["public.t", {"from": "public.k", "to": "public.kk", "where": "v <> 'hidden'",
                                               "map": {"note": "upper(v)", "v": None}}])
    relay.setup()
    relay.start(ready=True)
    world.source.execute(r"""insert into t select g, 'v' || g from generate_series(1, 100) g;
        insert into k select decode(md5(g::text), 'hex'), '2026-01-01'::timestamptz + g * interval '1 h 1 us', case when g = 3 then 'hidden' else
            'k' || g || '",\{' end from generate_series(1, 20) g""")
    wait_until(lambda: world.target.one("select (select count(*) from t) + (select count(*) from kk)") == 119, 30, "the rows arrive")
    hidden, changed = (world.source.execute("select at::text, b::text from k order by at offset %s limit 1", (n,))[0] for n in (2, 3))
    load = Pgbench(world.source, seconds=600, rate=50, script=small_tpcb(BUSY))
    compared = ["--rounds", 4, "--table", "t", "--table", "k", "--table", "pgbench_accounts"]
    try:
        world.target.execute("""delete from t where id = 1; update t set v = 'stale' where id = 5;
            update t set v = 'no version', _millrace = null where id = 6;
            update t set v = 'old version', _millrace = decode(repeat('00', 16), 'hex') where id = 7;
            insert into t values (1000, 'extra'), (1001, 'extra'); delete from pgbench_accounts where aid = 2900""")
        world.target.execute("insert into kk values (%s, %s, 'HIDDEN')", hidden)
        world.target.execute("update kk set note = lower(note) where at = %s", changed[:1])
        verify(relay, *compared)
        before = rows(world)
        wanted = [("public.pgbench_accounts", ("2900",), "insert"), ("public.t", ("1",), "insert")]
        wanted += [("public.t", (key,), "replace") for key in ("5", "6", "7")]
        extra = [("public.t", (key,), "keep") for key in ("1000", "1001")]
        utc = [tuple(reversed(row)) for row in world.source.execute(
            "select to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00'), b::text from k order by at offset 2 limit 2")]
        wanted += [("public.k", utc[1], "replace")]
        extra += [("public.k", utc[0], "keep")]

        dry = repair(relay, "--dry-run")
        assert actions(dry) == sorted(wanted + extra) and dry["dry_run"] and dry["verify"] is None
        dry = repair(relay, "--dry-run", "--delete-extra", "--table", "t", "--table", "k")
        assert ("public.t", ("1000",), "delete") in actions(dry) and ("public.k", utc[0], "delete") in actions(dry)
        shown = relay.command("repair", "--report", relay.folder / "verify.json", "--dry-run").stdout
        assert "public.t: insert 1, replace 3, keep 2" in shown and "keep (id)=(1000): extra, and --delete-extra" in shown, shown
        assert rows(world) == before and not keys_jobs(world) and not journal(world)

        # What is extra stays, what is not is mended.
        done = repair(relay, expect=3)
        assert actions(done) == sorted(wanted + extra)
        left = sorted((row["table"], row["kind"]) for row in done["verify"]["differences"])
        assert left == [("public.k", "extra"), ("public.t", "extra"), ("public.t", "extra")], left
        assert {row[1] for row in keys_jobs(world)} == {"done"} and len(keys_jobs(world)) == 3
        assert all("@" in row[2] for row in keys_jobs(world))
        said = [line for line in journal(world) if "public.t" in line]
        assert len(said) == 1 and said[0].startswith("repair of public.t: brings over 4 rows again: [["), said
        assert sorted(json.loads(said[0].split(": ", 2)[2])) == [["1"], ["5"], ["6"], ["7"]], said
        assert world.target.execute("select v from t where id in (1, 5, 6, 7) order by id") == [("v1",), ("v5",), ("v6",), ("v7",)]
        assert world.target.one("select count(*) from pgbench_accounts where aid = 2900") == 1

        done = repair(relay, "--delete-extra", "--table", "t", "--table", "k")
        assert done["verify"]["outcome"] == "equal" and load.running()
        assert world.target.one("select count(*) from t where id >= 1000") == 0
        assert world.target.one("select count(*) from kk where note = 'HIDDEN'") == 0
        verify(relay, "--table", "t", "--table", "k", expect=0)
        assert repair(relay)["tables"] == [] and len(keys_jobs(world)) == 5  # of an equal report
    finally:
        load.stop()
    verify(relay, *compared, expect=0)


@pytest.mark.parametrize("rule", [None, "no_guard"])
def test_newer_rows_are_not_overwritten(world, rule):
    """What the repair has read is older than what the stream brings before it is written."""
    relay = stream_of(world, ["public.t"], T, env={"MILLRACE_MUTATE": rule} if rule else None)
    hold = relay.folder / "hold"
    hold.touch()
    relay.start(env={"MILLRACE_FAIL": f"backfill_read:hold:{hold}"}, ready=True)
    world.source.execute("insert into t select g, 'v' || g from generate_series(1, 20) g")
    world.wait_same("t")
    world.target.execute("update t set v = 'damaged' where id <= 3")
    verify(relay)
    ended = []
    thread = threading.Thread(target=lambda: ended.append(relay.command("repair", "--report", "verify.json", timeout_s=120)))
    thread.start()
    try:
        wait_until(lambda: "failpoint backfill_read@1 fires" in relay.log_text(), what="the rows are read")
        world.source.execute("update t set v = 'newer' where id = 1; delete from t where id = 2")
        wait_until(lambda: world.target.execute("select v from t where id <= 2") == [("newer",)], what="the stream is ahead")
        assert world.target.one("select rows_done from millrace.progress where kind = 'keys'") == 0, "too late to mean anything"
    finally:
        hold.unlink()
        thread.join(PATIENCE_S)
    assert world.target.one("select v from t where id = 3") == "v3"
    if rule:
        assert ended[0].returncode == 3 and world.target.one("select v from t where id = 1") == "v1", ended
    else:
        assert ended[0].returncode == 0, ended
        assert world.target.execute("select v from t where id <= 2") == [("newer",)]
        world.assert_same("t")


def test_reports_that_are_refused(world):
    world.both(T + "; create table public.plain (n int)")
    tables = ["public.t", "public.plain"]
    relay = stream_of(world, tables)
    relay.start(ready=True)
    world.source.execute("insert into t select g, 'v' from generate_series(1, 20) g; insert into plain values (1)")
    world.wait_same("t", "plain")
    world.target.execute("update t set v = 'damaged' where id <= 3; insert into plain values (2)")
    before = world.target.execute("select * from t order by id")
    report = json.loads(verify(relay).read_text())
    t = next(table for table in report["tables"] if table["table"] == "public.t")

    def refused(code, why, change=None, arguments=("--table", "t"), text=None):
        other = json.loads(json.dumps(report))
        if change:
            change(other)
        path = relay.folder / "other.json"
        path.write_text(json.dumps(other) if text is None else text)
        done = relay.command("repair", "--report", path, *arguments)
        last = done.stderr.strip().splitlines()[-1]
        assert done.returncode == code and why in last, (code, why, done.returncode, done.stderr)

    refused(4, "is of pipeline shop", lambda r: r.update(pipeline="shop"))
    refused(4, "is of epoch 2, and the target is in epoch 1", lambda r: r.update(epoch=2))
    refused(4, "lists 2 of the 3 differences of public.t", lambda r: r["differences"].pop())
    refused(2, "plain has no key", arguments=())
    refused(2, "`tables` has no public.gone", lambda r: [row.update(table="public.gone") for row in r["differences"] + [
        next(one for one in r["tables"] if one["table"] == "public.t")]], arguments=("--table", "public.gone"))
    refused(2, "did not compare public.other", arguments=("--table", "other"))
    refused(2, "key of public.t is (id), and the report has {\"id\":\"1\",\"n\":\"2\"}", lambda r: r["differences"][-1]["key"].update({
        "id": "1", "n": "2"}))
    refused(2, "invalid input syntax for type integer", lambda r: r["differences"][-1]["key"].update(id="x"))
    refused(2, "not JSON", text=json.dumps(report)[:-9])
    refused(2, "no report of `millrace verify`", text="[]")
    done = relay.command("repair", "--report", "nowhere.json")
    assert done.returncode == 2 and "can not read the report nowhere.json" in done.stderr

    short = json.loads(verify(relay, "--table", "t", "--list", 1).read_text())
    assert short["rows_left_out"] == 2
    refused(4, "`millrace verify --table public.t --list 10000 --report FILE -c ", text=json.dumps(short))
    relay.reconfigure(tables=[{"from": "public.t", "to": "public.t", "map": {"v": "upper(v)"}}, "public.plain"])
    refused(4, "maps public.t otherwise than when it was verified")
    relay.reconfigure(tables=tables, memory="96MB")  # what is not about the rows does not matter
    assert [key["action"] for table in repair(relay, "--dry-run", "--table", "t", report=verify(relay, "--table", "t"))["tables"]
            for key in table["keys"]] == ["replace"] * t["different"] == ["replace"] * 3
    relay.stop()
    assert relay.command("backfill", "start", "--table", "t").returncode == 0
    refused(4, "has an open copy already")
    assert relay.command("backfill", "cancel").returncode == 0
    assert world.target.execute("select * from t order by id") == before and not keys_jobs(world) and not journal(world)


def test_nobody_applies_and_a_stop(world):
    """It says so, a stop leaves the job behind, and the next process does it, though one is killed meanwhile."""
    relay = stream_of(world, ["public.t"], T)
    relay.start(ready=True)
    world.source.execute("insert into t select g, 'v' from generate_series(1, 20) g")
    world.wait_same("t")
    world.target.execute("update t set v = 'damaged' where id <= 3")
    report = verify(relay)
    relay.stop()
    process = subprocess.Popen([binary(), "repair", "-c", relay.path, "--report", report], stderr=subprocess.PIPE, text=True, env=relay.env,
                               stdout=subprocess.PIPE)
    try:
        said = ""
        while "nobody has begun the repair" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        assert "millrace run" in said
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE_S)[1]
    finally:
        process.kill()
    assert process.returncode == 1 and "millrace backfill cancel" in said and "public.t" in said, said
    assert [row[:2] for row in keys_jobs(world)] == [("public.t", "waiting")]
    relay.start(env={"MILLRACE_FAIL": "backfill_write@1"})
    assert relay.wait(60) == -9
    relay.start(ready=True)
    wait_until(lambda: keys_jobs(world)[0][1] == "done", 30, "the repair is done")
    verify(relay, expect=0)
