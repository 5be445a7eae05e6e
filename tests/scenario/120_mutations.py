"""120 Mutations: with a safety rule switched off the tests notice; with it, the same story ends well.

Test builds read MILLRACE_MUTATE (relay/base/mutation.h). Each story is run twice."""
import shutil
import signal
import subprocess

import psutil
import pytest

from support.children import bytes_in, free_port, wait_until
from support.kills import lsn
from support.load import TABLES, Pgbench, TornStateOracle, init_tpcb, small_tpcb
from support.relay import binary
from support.world import stream_of


def test_this_is_a_test_build():
    """A release build would ignore the switch and make this file prove nothing."""
    strings = subprocess.run(["grep", "-c", "MILLRACE_MUTATE", binary()], capture_output=True, text=True)
    assert int(strings.stdout) > 0, "build with -DMILLRACE_MUTATIONS=ON (preset dev)"


def mutate(rule):
    return {"MILLRACE_MUTATE": rule} if rule else {}


@pytest.mark.parametrize("rule", [None, "no_atomic"])
def test_rows_and_position_in_one_transaction(world, rule):
    """The oracle of 100 sees rows that are committed table by table."""
    init_tpcb(world.source, world.target, accounts=1000)
    relay = world.relay(TABLES)
    relay.setup()
    relay.start(env=mutate(rule), ready=True)
    oracle = TornStateOracle(world.target).start()
    bench = Pgbench(world.source, seconds=1200, rate=800, script=small_tpcb(1000))
    oracle.wait_seen(1000, distinct=50, torn=bool(rule))
    relay.kill()
    bench.stop()
    if not rule:
        oracle.assert_never_torn(1000)
    oracle.stop()


@pytest.mark.parametrize("rule", [None, "no_guard"])
def test_older_change_does_not_overwrite_a_newer_row(world, rule):
    relay = stream_of(world, ["public.t"], "create table public.t (id int primary key, v text)")
    world.source.execute("insert into t values (1, 'old'), (2, 'old'), (3, 'old')")
    relay.catch_up()
    # What a later backfill or a replay's forerunner would have written: a version from the future.
    world.target.execute("update t set v = 'newer', _millrace = decode(repeat('7f', 16), 'hex') where id < 3")
    world.source.execute("update t set v = 'older' where id in (1, 3); delete from t where id = 2")
    relay.catch_up(env=mutate(rule))
    expected = [(1, "older"), (3, "older")] if rule else [(1, "newer"), (2, "newer"), (3, "older")]
    assert world.target.execute("select id, v from t order by 1") == expected


@pytest.mark.parametrize("rule", [None, "no_manifest_check"])
def test_records_of_a_zombie_do_not_count(world, rule):
    """A publisher that was held up wakes, and sends what it had queued into its successor's ranges."""
    relay = stream_of(world, ["public.events"], "create table public.events (n int, pad text)", kafka=True,
                      config={"log": {"partitions": 1}})
    relay.start("capture", ready=True, env={"MILLRACE_FAIL": "capture_produce@100000:pause"})
    world.source.execute("insert into events select g, repeat('x', 200) from generate_series(1, 200000) g")
    data = world.kafka.folder / "data" / f"{relay.name}.public.events-0"
    zombie = relay.children.pop("capture")
    try:
        wait_stopped(zombie, "capture is in the middle of the transaction")
        # Again and again: the last words of a walsender whose reader stands still may wait for ever.
        terminate = "select pg_terminate_backend(active_pid) from pg_replication_slots where active"
        wait_until(lambda: not world.source.execute(terminate), what="the slot is let go", interval_s=0.5)
        relay.ports["capture"] = free_port()
        shutil.move(f"{relay.config['state']}_capture", f"{relay.config['state']}_zombie")
        relay.start("capture", env={"MILLRACE_FAIL": "capture_produce@100000:pause"})
        wait_stopped(relay.child("capture"), "the successor is in the middle of the same rows")
        before = bytes_in(data, "*.log")
        zombie.signal(signal.SIGCONT)
        wait_until(lambda: bytes_in(data, "*.log") > before, what="the zombie has sent what it had", interval_s=0.01)
        relay.child("capture").signal(signal.SIGCONT)
        relay.start("apply", env=mutate(rule))

        def arrived():
            return world.target.one("select count(*) from events") >= 200_000 or not relay.running("apply")
        caught = False
        try:
            wait_until(arrived, what="the rows arrive", interval_s=0.2)
        except AssertionError:
            caught = True
        caught = caught or not relay.running("apply") or bool(world.differences("events"))
    finally:
        zombie.kill()
    assert caught == bool(rule), "doubled rows went unnoticed" if rule else "a zombie's rows were applied"


def wait_stopped(child, what):
    wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED, what=what, interval_s=0.01)


@pytest.mark.parametrize("rule", [None, "ack_received"])
def test_only_what_is_durable_is_acknowledged(world, rule):
    """The target is away, then the state folder is lost: all that was not applied must come again."""
    relay = stream_of(world, ["public.t"], "create table public.t (id int primary key, v text)")
    world.source.execute("insert into t values (0, 'first')")
    relay.start(env=mutate(rule), ready=True)
    world.wait_same("t")
    with world.target.transaction() as cursor:
        cursor.execute("lock table t in access exclusive mode")  # the target is stuck, the stream is not
        for i in range(1, 30):
            world.source.execute("insert into t select %s * 100 + g, 'x' from generate_series(1, 50) g", (i,))
        end = lsn(world.source.lsn())

        def received(status):
            confirmed = lsn(world.source.slot(relay.slot)["confirmed_flush_lsn"])
            return confirmed >= end if rule else lsn(status["positions"]["published"]["lsn"]) >= end
        relay.wait_status(received, what="all of it is in the log, or told to the slot")
        relay.kill()
    world.source.wait_slot_free(relay.slot)
    shutil.rmtree(relay.config["state"])
    relay.start()
    lost = False
    try:
        world.wait_same("t")
    except AssertionError:
        lost = True
    assert lost == bool(rule), "rows were lost and nothing noticed" if rule else "rows were lost"
