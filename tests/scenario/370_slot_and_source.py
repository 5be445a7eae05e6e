"""370 What becomes of the slot, the WAL behind it and the publication: each loss is a named stop with a way out, nothing is made anew in silence.

Slots that are dropped, recreated or advanced: 130_refusals and 900_bugs; restarts of the source: 170_restarts."""
import shutil
import subprocess
from contextlib import contextmanager

import psycopg2
import psycopg2.extras
import pytest

from support.children import wait_until
from support.compare import wait_same
from support.load import TABLES as TPCB, Pgbench, TornStateOracle, init_tpcb, small_tpcb
from support.postgres import Postgres
from support.proxy import Proxy
from support.world import last_line, stream_of

DDL = "create table public.t (id int primary key, v text); create table public.u (id int primary key, v text)"
TABLES = ["public.t", "public.u"]


def streamed(world, **options):
    relay = stream_of(world, options.pop("tables", TABLES), DDL, **options)
    relay.start(ready=True)
    world.source.execute("insert into t values (1, 'a'); insert into u values (1, 'a')")
    world.wait_same("t", "u")
    return relay


def refused(code, text, *words):
    assert code == 4, text
    for word in words:
        assert word in last_line(text), f"{word!r} is not in: {last_line(text)}"


def write_wal(world, megabytes):
    """Into a table that is not published."""
    world.source.execute("create table if not exists noise (x text)")
    for _ in range(megabytes):
        world.source.execute("insert into noise select repeat(md5(random()::text), 32) from generate_series(1, 1024)")
    world.source.execute("truncate noise")


@contextmanager
def locked(world, table="t"):
    """The target takes nothing for the table meanwhile."""
    with world.target.transaction() as cursor:
        cursor.execute(f"lock table {table} in access exclusive mode")
        yield


@contextmanager
def keep_size(world, megabytes):
    server = world.source.server
    server.execute(f"alter system set max_slot_wal_keep_size = '{megabytes}MB'")
    server.execute("select pg_reload_conf()")
    try:
        yield
    finally:
        server.execute("alter system reset max_slot_wal_keep_size")
        server.execute("select pg_reload_conf()")


# Row 6: the source restarts under load. What comes again is dropped by position.

@pytest.mark.fault(6)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_source_restarts_under_load(world, mode, recovery):
    init_tpcb(world.source, world.target, accounts=1000)
    relay = world.relay(TPCB)
    relay.setup()
    relay.start(ready=True)
    oracle = TornStateOracle(world.target, pause_s=0.005).start()
    for _ in range(3):
        bench = Pgbench(world.source, seconds=30, rate=400, script=small_tpcb(1000))
        before = world.source.one("select count(*) from pgbench_history")
        wait_until(lambda: world.source.one("select count(*) from pgbench_history") > before + 200, 20, "load")
        world.source.server.restart(mode)  # ends pgbench, too
        bench.stop()
    with recovery():
        world.wait_same(*TPCB)
    oracle.assert_never_torn(100)
    assert relay.running()


# A failover that goes on: the address is a standby's for a while, which has neither slot nor a word on whether it is gone.


def standby_of(primary):
    """A physical standby from a cold copy, made before there is a slot."""
    standby = Postgres("standby", start=False)
    primary.stop()
    shutil.rmtree(standby.data)
    subprocess.run(["cp", "-a", primary.data, standby.data], check=True)
    primary.start()
    (standby.data / "standby.signal").touch()
    standby.configure(unix_socket_directories=str(standby.folder), hot_standby="on",
                      primary_conninfo=f"host=127.0.0.1 port={primary.port} user=postgres dbname=postgres")
    return standby.start()


@pytest.mark.fault(6)
def test_the_address_is_a_standbys_for_a_while(world, recovery):
    primary = Postgres("primary")
    standby = standby_of(primary)
    primary.execute(DDL)
    world.target.execute(DDL)
    reached = [primary]
    proxy = Proxy(lambda: reached[0].port)
    relay = world.relay(TABLES, config={"source": {"dsn": proxy.through(primary)}})
    relay.source = primary
    relay.setup()
    relay.start(ready=True)
    primary.execute("insert into t values (1, 'a')")
    wait_same(primary, world.target, TABLES, each_time=world.assert_running)
    place = primary.lsn()
    wait_until(lambda: standby.one("select pg_last_wal_replay_lsn() >= %s::pg_lsn", (place,)), what="the standby replays")
    for started_anew in (False, True):  # while it runs, and at its start
        reached[0] = standby
        if started_anew:
            relay.terminate()
            relay.start()
        proxy.cut()
        relay.wait_status(lambda s: s["health"]["state"] == "blocked" and "standby" in s["health"]["why"], what="blocked, and why")
        primary.execute("insert into t select max(id) + 1, 'b' from t")
        reached[0] = primary
        proxy.cut()
        with recovery():
            wait_same(primary, world.target, TABLES, each_time=world.assert_running)
    assert relay.terminate()[0] == 0
    proxy.close()
    standby.stop("immediate")
    primary.stop("immediate")


# Another reader of the slot.

def take(world, relay):
    """A replication connection that reads the slot, as a tool of somebody else's would."""
    world.source.wait_slot_free(relay.slot)
    connection = psycopg2.connect(world.source.dsn(), connection_factory=psycopg2.extras.LogicalReplicationConnection)
    cursor = connection.cursor()
    cursor.start_replication(slot_name=relay.slot, decode=False,
                             options={"proto_version": "1", "publication_names": f'"{relay.slot}"'})
    return connection, cursor


@pytest.mark.fault(8)
def test_taken_by_another_client_for_a_while(world, recovery):
    relay = streamed(world)
    relay.terminate()
    other, _ = take(world, relay)
    world.source.execute("insert into t values (2, 'b')")
    relay.start()
    status = relay.wait_status(lambda s: s["health"]["state"] == "blocked" and "active" in s["health"]["why"], 30,
                               "blocked by the slot's reader")
    pid = world.source.slot(relay.slot)["active_pid"]
    assert relay.slot in status["health"]["why"] and str(pid) in status["health"]["why"], status["health"]
    other.close()
    with recovery():
        world.wait_same("t", "u")


@pytest.mark.fault(8)
def test_taken_by_another_client_for_good(world):
    relay = streamed(world, config={"source": {"slot_wait": "1s"}})
    relay.terminate()
    other, _ = take(world, relay)
    relay.start()
    refused(relay.wait(), relay.log_text(), relay.slot, "active for PID", "pg_terminate_backend")
    other.close()


@pytest.mark.fault(8)
def test_another_client_has_read_it(world):
    """It acknowledged what only this stream was to get: nobody has that any more."""
    relay = streamed(world)
    relay.terminate()
    world.source.execute("insert into t values (2, 'read by another')")
    other, cursor = take(world, relay)
    end = world.source.one("select pg_current_wal_lsn() - '0/0'::pg_lsn")
    wait_until(lambda: cursor.read_message() is not None, 20, "the other client reads", 0.02)
    cursor.send_feedback(write_lsn=int(end), flush_lsn=int(end), force=True)
    wait_until(lambda: world.source.one("select confirmed_flush_lsn - '0/0'::pg_lsn from pg_replication_slots "
                                        "where slot_name = %s", (relay.slot,)) >= end, 20, "the slot has moved")
    other.close()
    world.source.wait_slot_free(relay.slot)
    relay.start()
    refused(relay.wait(), relay.log_text(), "has forgotten", "teardown")
    assert world.target.one("select count(*) from t") == 1


# max_slot_wal_keep_size.

@pytest.mark.fault(8)
def test_invalidated_while_streaming(world):
    relay = streamed(world)
    with keep_size(world, 16), locked(world):
        world.source.execute("insert into t values (2, 'not applied')")
        write_wal(world, 64)
        status = relay.wait_status(lambda s: (s["slot"] or {}).get("wal_status") == "unreserved"
                                   and "unreserved" in s["health"]["why"], 30, "a warning before the slot is lost")
        assert status["health"]["state"] in ("ok", "catching_up"), status["health"]
        assert "max_slot_wal_keep_size" in status["health"]["why"] and "may be lost" in relay.log_text()
        world.source.execute("checkpoint")
        refused(relay.wait(60), relay.log_text(), relay.slot, "is lost", "max_slot_wal_keep_size", "teardown")
    assert world.target.one("select count(*) from t") == 1


@pytest.mark.fault(8)
def test_invalidated_while_stopped(world):
    relay = streamed(world)
    relay.terminate()
    with keep_size(world, 16):
        write_wal(world, 64)

        def lost():
            world.source.execute("checkpoint")  # the first may not know of the setting yet
            return world.source.slot(relay.slot)["wal_status"] == "lost"
        wait_until(lost, what="the slot is lost")
    for command in (["run"], ["setup"]):
        done = relay.command(*command)
        refused(done.returncode, done.stderr, relay.slot, "is lost", "max_slot_wal_keep_size", "teardown")


# source.on_retained_wal.

RETAINED = {"max_retained_wal": "16MB"}


@pytest.mark.fault(8)
def test_on_retained_wal_stop_waits_and_goes_on_below_the_limit(world, recovery):
    relay = streamed(world, config={"source": {**RETAINED, "on_retained_wal": "stop"}})
    with locked(world):
        world.source.execute("insert into t values (2, 'not applied yet')")
        write_wal(world, 20)
        world.source.execute("checkpoint")  # it writes a record that restart_lsn can move to, as the server does every 15 s
        write_wal(world, 1)
        status = relay.wait_status(lambda s: s["health"]["state"] == "stopped", 30, "capture is stopped")
        assert all(word in status["health"]["why"] for word in (relay.slot, "max_retained_wal", "16 MB", "teardown"))
        assert relay.running() and relay.get("/readyz")[0] == 503
        received = status["positions"]["received"]["lsn"]
        world.source.execute("insert into t values (3, 'not read')")
        assert relay.wait_status(lambda s: s["uptime_s"] > status["uptime_s"] + 2)["positions"]["received"]["lsn"] == received
        assert world.source.slot(relay.slot)["wal_status"] == "reserved", "the slot stays"
    with recovery():
        relay.wait_status(lambda s: s["health"]["state"] in ("ok", "catching_up"), 60, "it goes on by itself")
        world.wait_same("t", "u")


@pytest.mark.fault(8)
def test_on_retained_wal_stop_and_exit(world):
    relay = streamed(world, config={"on_stop": "exit", "source": {**RETAINED, "on_retained_wal": "stop"}})
    with locked(world):
        world.source.execute("insert into t values (2, 'not applied yet')")
        write_wal(world, 24)
        assert relay.wait(40) == 1
    said = last_line(relay.log_text())
    assert relay.slot in said and "source.max_retained_wal" in said, said
    assert world.source.slot(relay.slot), "the slot stays"
    relay.reconfigure(source={"max_retained_wal": "1GB"})
    relay.start()
    world.wait_same("t", "u")


@pytest.mark.fault(8)
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_on_retained_wal_drop_slot(world, running):
    """The slot goes, the source is saved, and the stream says that it is lost; it is never made anew."""
    relay = streamed(world, config={"source": {**RETAINED, "on_retained_wal": "drop_slot"}})
    if not running:
        relay.terminate()
    with locked(world):
        world.source.execute("insert into t values (2, 'lost')")
        write_wal(world, 24)
        if not running:
            relay.start()
        refused(relay.wait(60), relay.log_text(), relay.slot, "16 MB", "dropped", "teardown", "setup")
    assert world.source.slot(relay.slot) is None
    for command in (["run"], ["setup"]):
        done = relay.command(*command)
        refused(done.returncode, done.stderr, relay.slot, "does not exist", "teardown")
    assert world.source.slot(relay.slot) is None, "a new slot was made over a gap"
    done = relay.command("teardown", "--yes")
    assert done.returncode == 0, done.stderr
    world.both("truncate t, u")
    relay.reconfigure(source={"max_retained_wal": "1GB"})
    relay.setup()
    world.source.execute("insert into t values (7, 'anew')")
    relay.catch_up()
    world.assert_same("t", "u")


# The publication.

@pytest.mark.fault(8)
def test_publication_dropped_while_stopped(world):
    relay = streamed(world)
    relay.terminate()
    world.source.execute(f"drop publication {relay.slot}")
    world.source.execute("insert into t values (2, 'nobody may lose this')")
    done = relay.command("run")
    refused(done.returncode, done.stderr, f"publication {relay.slot} does not exist", "teardown")
    assert world.source.one("select count(*) from pg_publication") == 0, "it was made anew in silence"
    assert world.target.one("select count(*) from t") == 1


@pytest.mark.fault(8)
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_table_taken_out_of_the_publication(world, running):
    relay = streamed(world)
    if not running:
        relay.terminate()
    world.source.execute(f"alter publication {relay.slot} drop table u")
    world.source.execute("insert into u values (2, 'not delivered'); insert into t values (2, 'b')")
    if not running:
        relay.start()
    refused(relay.wait(40), relay.log_text(), f"publication {relay.slot}", "public.u", "not delivered", "teardown", "setup")
    done = relay.command("run")  # again: still not made whole in silence
    refused(done.returncode, done.stderr, "public.u")
    relay.setup()  # somebody decides to go on without it
    world.target.execute("insert into u values (2, 'not delivered')")
    relay.start(ready=True)
    world.source.execute("insert into u values (3, 'c')")
    world.wait_same("t", "u")


@pytest.mark.fault(8)
def test_table_added_by_config(world):
    relay = streamed(world, tables=["public.t", "public.u"])
    relay.terminate()
    world.both("create table public.w (id int primary key, v text)")
    world.source.execute("insert into t values (2, 'b')")
    relay.reconfigure(tables=["public.t", "public.u", "public.w"])
    relay.start(ready=True)
    world.source.execute("begin; insert into w values (1, 'x'); insert into t values (3, 'c'); commit")
    world.wait_same("t", "u", "w")


@pytest.mark.fault(8)
def test_table_taken_out_by_config(world):
    """Its rows are left out, with a warning; the others go on."""
    relay = streamed(world)
    relay.terminate()
    relay.reconfigure(tables=["public.t"])
    relay.start(ready=True)
    world.source.execute("insert into u values (2, 'left out'); insert into t values (2, 'b')")
    world.wait_same("t")
    assert world.target.one("select count(*) from u") == 1
    assert "public.u" in relay.log_text() and "left out" in relay.log_text()


@pytest.mark.fault(8)
def test_table_added_by_hand(world):
    """A table that the config does not name: left out, with a warning."""
    relay = streamed(world)
    world.source.execute(f"create table w (id int primary key); alter publication {relay.slot} add table w;"
                         "insert into w values (1); insert into t values (2, 'b')")
    world.wait_same("t", "u")
    wait_until(lambda: "public.w" in relay.log_text(), 20, "a warning that names it")
    assert relay.running()


@pytest.mark.fault(8)
def test_table_dropped_at_the_source(world):
    """Its rows stay in the target, nothing else is held up; created anew it is another table, and a named stop."""
    relay = streamed(world)
    world.source.execute("drop table u; insert into t values (2, 'b')")
    world.wait_same("t")
    uptime = relay.status()["uptime_s"]
    relay.wait_status(lambda s: s["uptime_s"] > uptime + 6, what="the monitor has looked")
    assert relay.running() and world.target.one("select count(*) from u") == 1
    world.source.execute("create table u (id int primary key, v text); insert into u values (9, 'another table')")
    refused(relay.wait(40), relay.log_text(), "public.u", "created anew", "setup")
