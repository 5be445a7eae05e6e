"""440 Proofs: verify on a schedule beside the stream, its history in the target, drift and ranges of keys."""
import json
import time

import pytest

from support.children import wait_until
from support.world import stream_of


def verify(relay, *arguments, expect):
    done = relay.command("verify", "--json", *arguments, timeout_s=120)
    assert done.returncode == expect, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout) if done.stdout else done.stderr


def history(relay, *arguments):
    return verify(relay, "--history", *arguments, expect=0)


def table_of(report, table):
    return next(one for one in report["tables"] if one["table"] == table)


def test_ranges_and_their_history(world):
    relay = stream_of(world, ["public.t", "public.two", "public.plain"], """
        create table t (id int primary key, v text); create table two (a text, b int, primary key (b, a)); create table plain (n int)""")
    world.source.execute("""insert into t select g, 'v' || g from generate_series(1, 1000) g; insert into plain values (1);
                            insert into two select 'k' || g, g % 10 from generate_series(1, 100) g""")
    relay.start(ready=True)
    world.wait_same("t", "two", "plain")
    assert history(relay) == []

    report = verify(relay, "--table", "t", "--counts", "--by-range", 4, expect=0)
    ranges = table_of(report, "public.t")["ranges"]
    assert [(one["after"], one["until"], one["equal"]) for one in ranges] == [
        (None, ["250"], 250), (["250"], ["500"], 250), (["500"], ["750"], 250), (["750"], None, 250)], ranges
    assert table_of(verify(relay, "--table", "t", "--after", 100, "--until", 150, "--chunk-rows", 10, expect=0), "public.t")["equal"] == 50
    assert table_of(verify(relay, "--table", "t", "--after", 990, expect=0), "public.t")["equal"] == 10
    two = table_of(verify(relay, "--table", "two", "--after", '["k12",2]', "--until", '["k23",3]', expect=0), "public.two")
    assert two["equal"] == world.source.one("select count(*) from two where (b, a) > (2, 'k12') and (b, a) <= (3, 'k23')"), two

    world.target.execute("delete from t where id in (260, 499); insert into t values (2000, 'extra')")
    ranges = table_of(verify(relay, "--table", "t", "--counts", "--by-range", 4, expect=3), "public.t")["ranges"]
    assert [(one["missing"], one["extra"]) for one in ranges] == [(0, 0), (2, 0), (0, 0), (0, 1)], ranges
    assert table_of(verify(relay, "--table", "t", "--until", 259, expect=0), "public.t")["compared"] == 259
    assert table_of(verify(relay, "--table", "t", "--after", 259, "--until", 260, expect=3), "public.t")["missing"] == 1

    for arguments, code, says in [(("--after", "1"), 2, "belong to one table"), (("--table", "two", "--after", "1"), 2, "has 2 columns"),
                                  (("--table", "t", "--until", "x"), 1, "invalid input syntax"),
                                  (("--table", "plain", "--until", "1"), 2, "has no key")]:
        done = relay.command("verify", *arguments)
        assert done.returncode == code and says in done.stderr, done.stderr

    proofs = history(relay, "--table", "t")
    assert [(one["kind"], one["verdict"], one["scope"]) for one in reversed(proofs)] == [
        ("counts", "equal", None), ("rows", "equal", "after 100 until 150"), ("rows", "equal", "after 990"), ("counts", "different", None),
        ("rows", "equal", "until 259"), ("rows", "different", "after 259 until 260")], proofs
    last = proofs[0]
    assert (last["compared"], last["missing"], last["table"], last["epoch"]) == (1, 1, "public.t", 1) and "@" in last["who"], last
    assert last["position_from"].startswith("1:") and last["started_at"] <= last["ended_at"] and len(last["config_hash"]) == 16, last
    assert proofs[0]["ended_at"] >= proofs[-1]["ended_at"] and len(history(relay, "--limit", 3)) == 3
    text = relay.command("verify", "--history", "--table", "t").stdout
    assert "after 259 until 260" in text and "different" in text, text


def test_an_idle_stream_answers_at_once(world):
    """A message with our prefix moves it; the rule for all else is at most one empty manifest a second."""
    relay = stream_of(world, ["public.t"], "create table t (id int primary key)")
    if int(world.source.one("show server_version_num")) < 140000:
        pytest.skip("pgoutput of Postgres 13 does not send messages: each look takes about a second there")
    relay.start(ready=True)
    took = []
    for _ in range(15):
        began = time.monotonic()
        end = world.source.one("select pg_logical_emit_message(true, 'millrace', 'here')")
        wait_until(lambda: world.target.one(f"select end_lsn >= '{end}' from millrace.applied"), 30, "the target has it", 0.01)
        took.append(time.monotonic() - began)
    assert sorted(took)[4] < 0.5, took  # the quick ones: others may have the processor for a while


def test_drift_of_columns_that_came_later(world):
    """add_columns gives the target an empty column; what earlier rows hold in the source is not streamed."""
    relay = stream_of(world, ["public.t", {"from": "public.d", "to": "public.d", "map": {"c": "v * 2", "v": None}}], """
        create table t (id int primary key, v text); create table d (id int primary key, v int)""",
                      config={"target": {"on_schema_change": "add_columns"}})
    world.source.execute("insert into t select g, 'v' from generate_series(1, 300) g; insert into d select g, g from generate_series(1, 50) g")
    world.target.execute("alter table d add c int default 14; alter table d drop v")
    relay.start(ready=True)
    wait_until(lambda: world.target.one("select count(*) from d") == 50 and world.target.one("select count(*) from t") == 300, 30, "rows arrive")
    assert verify(relay, "--drift", expect=0)["kind"] == "drift"

    world.source.execute("alter table t add extra text default 'x'; insert into t values (301, 'v', 'new'), (302, 'v', null)")
    wait_until(lambda: world.target.one("select count(*) from t") == 302, 30, "the new column arrives")
    # A value that is wrong is not drift; one that is the target's DEFAULT where the source has another is.
    world.target.execute("update d set c = 5 where id = 20; update d set c = 14 where id = 30; update d set c = null where id = 40")
    report = verify(relay, "--drift", "--list", 1000, expect=3)
    t, d = table_of(report, "public.t"), table_of(report, "public.d")
    assert (t["different"], t["equal"], t["drifting"]) == (300, 2, {"extra": 300}), t
    assert (d["different"], d["equal"], d["drifting"]) == (2, 48, {"c": 2}), d  # row 7 has 14 on both sides
    assert sorted(int(one["key"]["id"]) for one in report["differences"] if one["table"] == "public.d") == [30, 40]
    assert "column extra" in relay.command("verify", "--drift").stdout
    world.source.execute("update t set extra = 'y' where id > 100")
    wait_until(lambda: world.target.one("select count(*) from t where extra = 'y'") == 202, 30, "the updates arrive")
    path = relay.folder / "drift.json"
    assert table_of(verify(relay, "--drift", "--list", 1000, "--report", path, expect=3), "public.t")["drifting"] == {"extra": 100}

    def differences(kind):
        wanted = f'millrace_verify_differences{{pipeline="{relay.name}",table="public.t",kind="{kind}"}} '
        return [line.removeprefix(wanted) for line in relay.get("/metrics")[1].splitlines() if line.startswith(wanted)]
    wait_until(lambda: differences("drift") == ["100"], 60, "the metric has the drift")
    done = relay.command("repair", "--report", path, "--table", "t", timeout_s=120)
    assert done.returncode == 0, done.stderr
    # All rows were proven equal after that, so the drift is over.
    wait_until(lambda: differences("rows") == ["0"] and differences("drift") == ["0"], 60, "the metric falls back")
    assert world.target.one("select count(*) from t where extra = 'x'") == 100


SCHEDULE = [{"kind": "rows", "every": "1s"}, {"kind": "counts", "every": "1s", "tables": ["t"]}, {"kind": "drift", "every": "2s"},
            {"kind": "sample", "every": "1s", "sample": "50%"}, {"kind": "invariants", "every": "1s"}]


def proofs_of(status):
    return {(one["table"], one["kind"]): one for one in status["verify"]["proofs"]}


def test_schedule_keeps_its_history_and_shows_it(world):
    relay = stream_of(world, ["public.t", "public.u"], "create table t (id int primary key, v int); create table u (id int primary key, v int)")
    relay.reconfigure(verify={"schedule": SCHEDULE + [{"kind": "rows", "every": "1h", "tables": ["public.u"]}], "keep": 3,
                              "invariants": {"no debts": "select id from public.t where v < 0"}})
    world.source.execute("insert into t select g, g from generate_series(1, 500) g; insert into u select g, g from generate_series(1, 500) g")
    relay.start(ready=True)
    wanted = {("public.t", kind) for kind in ("rows", "counts", "drift", "sample")} | {("public.u", "rows"), ("no debts", "invariants")}

    def all_equal(status):
        proofs = proofs_of(status)
        return wanted <= set(proofs) and all(proofs[one]["verdict"] == "equal" for one in wanted) and proofs["public.t", "rows"]["compared"] == 500
    status = relay.wait_status(all_equal, 60, "every entry was proven")
    one = proofs_of(status)["public.t", "rows"]
    assert one["position"].startswith("1:") and one["differences"] == 0 and one["age_s"] >= 0, one
    assert ("public.u", "counts") not in proofs_of(status)

    world.target.execute("update t set v = -1 where id = 7")
    relay.wait_status(lambda s: proofs_of(s)["public.t", "rows"]["differences"] == 1 and proofs_of(s)["no debts", "invariants"]["verdict"] == "different",
                      60, "the damage is found")
    assert "source and target differ" in relay.log_text()
    metrics = relay.get("/metrics")[1]
    assert f'millrace_verify_differences{{pipeline="{relay.name}",table="public.t",kind="rows"}} 1' in metrics, metrics
    assert f'millrace_verify_last_timestamp_seconds{{pipeline="{relay.name}",table="public.t",kind="drift"}} 1' in metrics, metrics
    assert "proof      public.t rows: different" in relay.command("status").stdout
    world.source.execute("update t set v = 8 where id = 7")
    relay.wait_status(lambda s: proofs_of(s)["public.t", "rows"]["verdict"] == "equal", 60, "the repaired row is seen")

    # It is bounded; by hand it is the same history; and it stands in the target.
    verify(relay, "--table", "u", "--counts", expect=0)
    relay.wait_status(lambda s: ("public.u", "counts") in proofs_of(s), 30, "the proof by hand is shown too")
    def counts():
        return dict(world.target.execute("select kind || ' ' || subject || ' ' || who, count(*) from millrace.proof group by 1"))
    wait_until(lambda: relay.log_text().count('entry="rows every 1s"') >= 5, 60, "more were made than are kept")
    wait_until(lambda: counts()["rows public.t schedule: rows every 1s"] == 3 and max(counts().values()) == 3, 30, "three are kept")
    hourly = "select count(*), max(id) from millrace.proof where who like '%every 1h%'"
    before = world.target.execute(hourly)
    newest = world.target.one("select max(id) from millrace.proof")
    code, _ = relay.terminate()
    assert code == 0
    assert "equal" in relay.command("status").stdout  # from the target

    # What was proven an hour ago at most is not proven again by a restart; what is due is.
    relay.start(ready=True)
    wait_until(lambda: world.target.one(f"select count(distinct kind) from millrace.proof where id > {newest}") == 5, 60, "it goes on")
    assert world.target.execute(hourly) == before


def test_rows_that_nobody_copied_are_compared(world):
    """backfill.on_existing: verify keeps them, copies the others, and says once whether they are the source's."""
    world.both("create table t (id int primary key, v text); create table u (id int primary key, v text)")
    world.source.execute("insert into t select g, 'source' from generate_series(1, 10) g; insert into u select g, 'source' from generate_series(1, 10) g")
    world.target.execute("insert into t values (3, 'target'); insert into u values (3, 'source')")
    relay = world.relay(["public.t", "public.u"], config={"backfill": {"on_start": True, "on_existing": "verify"}})
    caught_up = relay.command("run", "--until-caught-up")
    assert caught_up.returncode == 3 and "rows that were there are not the source's" in caught_up.stderr, caught_up.stderr
    kept = world.target.execute("select v, count(*) from t group by v order by v")
    assert kept == [("source", 9), ("target", 1)], kept
    history = "select subject, verdict, compared, different from millrace.proof order by id"
    assert world.target.execute(history) == [("public.t", "different", 10, 1), ("public.u", "equal", 10, 0)]

    # Beside the stream what differed is looked at again; and a table that comes later, when it was copied.
    relay.start(ready=True)
    wait_until(lambda: world.target.execute(history)[2:] == [("public.t", "different", 10, 1)], 60, "it is compared again")
    relay.wait_status(lambda s: proofs_of(s)["public.t", "rows"]["differences"] == 1, 60, "the status says so")
    relay.terminate()
    world.source.execute("update t set v = 'mended' where id = 3")
    world.both("create table w (id int primary key)")
    world.source.execute("insert into w values (1), (2)")
    relay.reconfigure(tables=["public.t", "public.u", "public.w"])
    relay.start(ready=True)
    wait_until(lambda: sorted(world.target.execute(history)[3:]) == [("public.t", "equal", 10, 0), ("public.w", "equal", 2, 0)], 60,
               "the mended and the new one are equal")
    assert relay.terminate()[0] == 0


def test_what_runs_on_a_schedule_is_in_nobodys_way(world):
    """A TRUNCATE of the stream wants the table for itself; and a stop does not wait for a long statement."""
    relay = stream_of(world, ["public.t"], "create table t (id int primary key, v int)")
    relay.reconfigure(verify={"schedule": [{"kind": "invariants", "every": "1s"}],
                              "invariants": {"slow": "select 1 from public.t where id = 1 and pg_sleep(300) is null"}})
    world.source.execute("insert into t select g, g from generate_series(1, 10) g")
    relay.start(ready=True)
    world.wait_same("t")
    asked = "select count(*) from pg_stat_activity where query like '%pg_sleep(300)%' and state = 'active' and pid <> pg_backend_pid()"
    wait_until(lambda: world.target.one(asked) == 1, 60, "the slow invariant is asked")
    world.source.execute("truncate t; insert into t values (1, 1)")
    wait_until(lambda: world.target.one("select count(*) from t") == 1, 60, "the stream goes on")
    given_up = relay.wait_status(lambda s: "given up" in proofs_of(s).get(("slow", "invariants"), {"why": ""})["why"], 30, "it says so")
    assert proofs_of(given_up)["slow", "invariants"]["verdict"] == "undecided"
    wait_until(lambda: world.target.one(asked) == 1, 60, "it is asked again")
    code, seconds = relay.terminate()
    assert code == 0, seconds
    wait_until(lambda: world.target.one(asked) == 0, 30, "nothing is left behind")
