"""200 Seeing it: status as text and JSON, metrics, probes, offsets and the log as JSON lines; nothing needs a stop."""
import json
import os
import re
import subprocess

import pytest

from support.children import Child, wait_until
from support.relay import binary
from support.world import stream_of

DDL = "create table public.t (id int primary key, v text, j jsonb)"


@pytest.fixture
def running(world):
    relay = stream_of(world, ["public.t"], DDL)
    relay.start(ready=True)
    world.source.execute("""insert into t values (1, 'x', '{"a": 1}'), (2, null, null); update t set v = 'y' where id = 1""")
    world.source.execute("delete from t where id = 2")
    world.wait_same("t")
    relay.wait_status(lambda s: s["lag"]["bytes"] == 0 and all(s["positions"].values()), 20, "no lag")  # the slot is told last
    return relay


def test_status_json(world, running):
    def at_rest():  # the server itself writes a little WAL now and then
        done = running.command("status", "--json")
        assert done.returncode == 0, done.stderr
        status = json.loads(done.stdout)
        return status if status["lag"] == {"bytes": 0, "seconds": 0} else None
    status = wait_until(at_rest, what="no lag")
    assert status["pipeline"] == running.name and status["health"]["state"] == "ok"
    assert set(status["positions"]) == {"received", "published", "acknowledged", "applied"}
    for stage, at in status["positions"].items():
        assert re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", at["lsn"]), stage
    assert status["slot"]["name"] == running.slot and status["slot"]["active"] is True
    assert status["slot"]["wal_status"] == "reserved" and status["slot"]["retained_wal_bytes"] >= 0
    assert {"rates", "memory_bytes", "backfill", "parked", "last_error"} <= set(status)
    assert status["memory_bytes"] > 1 << 20 and status["parked"] == 0 and status["last_error"] is None
    assert json.loads(running.get("/api/v1/status")[1]).keys() == status.keys()


def test_status_text(world, running):
    done = running.command("status")
    assert done.returncode == 0
    for word in (running.name, "ok", "applied", "lag", running.slot):
        assert word in done.stdout


def test_status_watch_stops_by_signal(world, running):
    child = Child([binary(), "status", "-c", running.path, "--json", "--watch"], log=running.folder / "watch.log")
    running.wait_status(lambda s: (running.folder / "watch.log").read_text().count("\n") >= 2, 10, "two lines")
    assert child.stop() == 0
    for line in (running.folder / "watch.log").read_text().splitlines():
        assert json.loads(line)["pipeline"] == running.name


def test_status_without_a_process(world, running):
    running.terminate()
    done = running.command("status", "--json")
    status = json.loads(done.stdout)
    assert done.returncode == 0 and status["running"] is False
    assert status["positions"]["applied"]["lsn"]
    assert status["slot"]["active"] is False


def test_metrics(world, running):
    code, text = running.get("/metrics")
    assert code == 200
    names = set(re.findall(r"^(millrace_\w+)", text, re.M))
    assert {"millrace_lag_bytes", "millrace_lag_seconds", "millrace_health", "millrace_position_bytes",
            "millrace_rows_total", "millrace_slot_retained_wal_bytes", "millrace_memory_bytes"} <= names
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(r'\w+(\{[^}]*\})? -?[0-9.eE+-]+|\w+(\{[^}]*\})? (NaN|[+-]Inf)', line), line
        if not line.startswith("#"):
            assert f'pipeline="{running.name}"' in line


def test_probes_and_unknown_paths(world, running):
    assert running.get("/healthz")[0] == 200 and running.get("/readyz")[0] == 200
    assert running.get("/nothing")[0] == 404


def test_offsets(world, running):
    for command in (["list"], ["show"], ["history"]):
        done = running.command("offsets", *command)
        assert done.returncode == 0 and done.stdout.strip(), f"{command}: {done.stderr}"
    done = running.command("offsets", "list", "--json")
    assert done.returncode == 0
    # A group that was applied apart leaves an entry of its own.
    world.source.execute("insert into t values (7, 'z', null)")
    world.wait_same("t")

    def entries():
        return json.loads(running.command("offsets", "history", "--json").stdout)
    wait_until(lambda: len(entries()) > 1, what="two entries")
    history = entries()
    newest = json.loads(running.command("offsets", "history", "--json", "--limit", 1).stdout)
    assert newest[0]["manifest_offset"] >= history[-1]["manifest_offset"], "the newest, oldest first"
    assert running.name in done.stdout and json.loads(done.stdout.splitlines()[0] if done.stdout.count("\n") > 1 and
                                                      not done.stdout.startswith(("[", "{\n")) else done.stdout)


@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_log_cat(world, kafka):
    relay = stream_of(world, ["public.t"], DDL, kafka=kafka)
    world.source.execute("insert into t values (1, 'x', '{\"a\": 1}'), (2, null, null)")
    world.source.execute("update t set v = e'line\\nbreak \"q\"' where id = 1; delete from t where id = 2")
    relay.catch_up()
    done = relay.command("log", "cat")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    text = json.dumps(lines)
    assert len(lines) >= 4
    assert "insert" in text and "update" in text and "delete" in text
    assert "line\\\\nbreak" in text or "line\\nbreak" in text
    assert relay.command("log", "cat", "--limit", 2).stdout.splitlines() == done.stdout.splitlines()[:2]
    assert len(relay.command("log", "cat", "--control", "--limit", 1).stdout.splitlines()) == 1
    assert relay.command("log", "describe").returncode == 0


def test_version(world):
    done = world.relay([]).command("version", config=False)
    assert done.returncode == 0 and re.search(r"\d+\.\d+\.\d+", done.stdout)


def test_version_and_help_however_they_are_asked_for(world):
    relay = world.relay(["public.t"])

    def said(*words):
        done = relay.command(*words, config=False)
        assert done.returncode == 0 and not done.stderr, (words, done.stderr)
        return done.stdout
    assert said("version") == said("--version") == said("-V")
    assert said("help") == said("--help") == said("help", "--help")
    assert said("help", "verify") == said("verify", "--help") and "--sample" in said("help", "verify")
    assert said("help", "backfill", "start") == said("backfill", "start", "--help")
    for words, name in ((["help", "verfy"], "verfy"), (["verfy", "--help"], "verfy"), (["backfill", "strt"], "backfill strt")):
        unknown = relay.command(*words, config=False)
        assert unknown.returncode == 2 and f"there is no command `{name}`" in unknown.stderr, unknown.stderr


def test_a_config_that_is_not_named(world, tmp_path):
    relay = world.relay(["public.t"])

    def checked(folder, **environment):
        done = subprocess.run([binary(), "offsets", "list", "--json"], cwd=folder, env=dict(os.environ, **environment),
                              capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr
    for code, said in (checked(relay.folder), checked(tmp_path, MILLRACE_CONFIG=str(relay.path))):
        assert code == 0 and "this pipeline has not run" in said
    for command in (["status"], ["teardown", "--yes"]):  # what is named counts, not what is found
        done = relay.command(*command, "-c", tmp_path / "gone.yaml", config=False, env={"MILLRACE_CONFIG": str(relay.path)})
        assert done.returncode == 2 and "gone.yaml: can not read the config" in done.stderr, done
    code, said = checked(tmp_path)
    assert code == 2 and "--config is required; name the pipeline's file by -c FILE or MILLRACE_CONFIG" in said


def test_log_format_json(world, running):
    running.terminate()
    path = running.log_path()
    before = len(path.read_text().splitlines())
    running.start("all", "--log-format", "json", ready=True)
    running.terminate()
    lines = path.read_text().splitlines()[before:]
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)


def test_print_sql_changes_nothing(world):
    world.both(DDL)
    relay = world.relay(["public.t"])
    done = relay.command("setup", "--print-sql")
    assert done.returncode == 0 and "publication" in done.stdout.lower()
    assert world.source.slot(relay.slot) is None and world.source.one("select count(*) from pg_publication") == 0
    assert world.target.one("select count(*) from pg_namespace where nspname = 'millrace'") == 0


def test_pipe_that_nobody_reads(world, running):
    """`millrace status | head -1` is no error."""
    done = subprocess.run(f"{binary()} status -c {running.path} --json | head -1", shell=True, text=True,
                          capture_output=True)
    assert done.returncode == 0 and not done.stderr
