"""350 Two captures or two appliers of one pipeline: the one that lost ends with 4, and nothing is torn or doubled.

Zombies are made by SIGSTOP: the successor begins, and SIGCONT wakes the one that still believes. An applier that is
stopped keeps its session, so the successor is refused until that is ended by hand, in the words of the refusal."""
import random
import re
import signal
import time

import pytest

from support.children import wait_until
from support.load import TABLES, Pgbench, TornStateOracle, init_tpcb, small_tpcb
from support.proxy import Proxy
from support.relay import Relay
from support.world import last_line, stream_of

ACCOUNTS = 1000
DDL = "create table public.t (id int primary key, v text)"
QUICK = {"source": {"slot_wait": "1s"}, "target": {"applier_wait": "1s"}}


def twin(world, relay, kafka):
    """The same pipeline, in folders of its own."""
    other = Relay(world.source, world.target, relay.config["tables"], name=relay.name, kafka=kafka, config=QUICK)
    world.relays.append(other)
    return other


def left_with_4(relay, role, *words):
    assert relay.wait(40, role=role) == 4, relay.log_text(role)[-2000:]
    why = last_line(relay.log_text(role))
    for word in words:
        assert word in why, f"{word!r} is not in: {why}"
    return why


def tpcb(world, **options):
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    relay = world.relay(TABLES, kafka=True, config=QUICK, **options)
    relay.setup()
    return relay


def settle(world, oracle, bench):
    bench.stop()
    for relay in world.relays:  # whoever is stopped was to be ended before
        for role in relay.children:
            assert relay.running(role)
    world.wait_same(*TABLES, timeout_s=60)
    oracle.assert_never_torn(100)


@pytest.mark.fault(5)
def test_second_capture_and_second_applier(world):
    relay = stream_of(world, ["public.t"], DDL, kafka=True, config=QUICK)
    relay.start("capture", ready=True).start("apply", ready=True)
    world.source.execute("insert into t values (1, 'a')")
    world.wait_same("t")
    other = twin(world, relay, world.kafka)
    other.start("capture")
    left_with_4(other, "capture", relay.slot, "pg_terminate_backend")
    assert "capture waits for the slot" in other.log_text("capture")
    other.start("apply")
    pid = world.target.one("select pid from pg_locks where locktype = 'advisory' and database = (select oid from "
                           "pg_database where datname = current_database())")
    why = left_with_4(other, "apply", "another instance applies pipeline", f"pg_terminate_backend({pid})",
                      f"application millrace {relay.name}", "since 20")
    assert "holds the applier lock" in why
    assert "apply waits for its turn" in other.log_text("apply")
    world.source.execute("insert into t values (2, 'b')")
    world.wait_same("t")


@pytest.mark.fault(5)
def test_predecessor_whose_end_is_not_noticed_yet_is_waited_for(world):
    """A session that ends while the new one waits is no reason to refuse."""
    relay = stream_of(world, ["public.t"], DDL, kafka=True)
    with world.target.transaction() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtextextended('millrace applier ' || %s, 0))", (relay.name,))
        relay.start("capture").start("apply")
        world.source.execute("insert into t values (1, 'a')")
        status = relay.wait_status(lambda s: s["health"]["state"] == "blocked" and "applier lock" in s["health"]["why"],
                                   20, "blocked by the lock", role="apply")
        assert "pg_terminate_backend" in status["health"]["why"]
        assert world.target.one("select count(*) from t") == 0
    world.wait_same("t")


@pytest.mark.fault(5)
def test_zombie_capture(world, recovery):
    relay = tpcb(world)
    relay.start("apply", ready=True)
    oracle = TornStateOracle(world.target, pause_s=0.005).start()
    bench = Pgbench(world.source, seconds=1200, rate=300, script=small_tpcb(ACCOUNTS))
    dice = random.Random(5)
    first = relay
    first.start("capture", ready=True)
    for _ in range(4):
        time.sleep(dice.uniform(0.3, 1.0))
        first.child("capture").signal(signal.SIGSTOP)
        world.source.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s",
                             (relay.slot,))
        with recovery():
            world.source.wait_slot_free(relay.slot)  # the successor waits for a second only
            successor = twin(world, relay, world.kafka)
            successor.start("capture", ready=True)
            before = world.target.one("select count(*) from pgbench_history")
            wait_until(lambda: world.target.one("select count(*) from pgbench_history") > before, 30, "it goes on", 0.05)
        first.child("capture").signal(signal.SIGCONT)
        left_with_4(first, "capture")
        first = successor
    settle(world, oracle, bench)


def wait_sessions_end(world, which):
    wait_until(lambda: not world.target.one(f"select count(*) from pg_stat_activity where {which}"),
               what=f"the session with {which} has ended")


def take_over(world, relay, stopped):
    """Starts a successor of a stopped applier, does what the refusal says, starts it again."""
    successor = twin(world, relay, world.kafka)
    successor.start("apply")
    why = left_with_4(successor, "apply", "another instance applies", "pg_terminate_backend")
    pid = re.search(r"select pg_terminate_backend\((\d+)\)", why).group(1)
    world.target.execute(f"select pg_terminate_backend({pid})")
    wait_sessions_end(world, f"pid = {pid}")  # the successor waits for a second only
    successor.start("apply", ready=True)
    before = world.target.one("select count(*) from pgbench_history")
    wait_until(lambda: world.target.one("select count(*) from pgbench_history") > before, 30, "the successor applies", 0.05)
    stopped.child("apply").signal(signal.SIGCONT)
    left_with_4(stopped, "apply", "another instance")
    assert successor.running("apply")
    return successor


@pytest.mark.fault(5)
def test_zombie_applier(world, recovery):
    """Stopped at some moment, and in the middle of an open transaction, with the row of millrace.applied locked."""
    relay = tpcb(world)
    relay.start("capture", ready=True)
    relay.start("apply", ready=True)
    oracle = TornStateOracle(world.target, pause_s=0.005).start()
    bench = Pgbench(world.source, seconds=1200, rate=300, script=small_tpcb(ACCOUNTS))
    dice = random.Random(8)
    first = relay
    for place in ["anywhere", "in a transaction", "anywhere", "in a transaction", "anywhere"]:
        time.sleep(dice.uniform(0.3, 0.8))
        if place == "anywhere":
            first.child("apply").signal(signal.SIGSTOP)
        else:
            with world.target.transaction() as cursor:
                cursor.execute("lock table pgbench_tellers in exclusive mode")
                wait_until(lambda: world.target.one("select exists (select from pg_locks where not granted and relation = "
                                                    "'pgbench_tellers'::regclass)"), 20, "the applier waits inside")
                first.child("apply").signal(signal.SIGSTOP)
            wait_until(lambda: world.target.one("select exists (select from pg_stat_activity where state = 'idle in "
                                                "transaction' and application_name = %s)", (f"millrace {relay.name}",)),
                       20, "its transaction is open, and nobody goes on with it")
        with recovery():
            first = take_over(world, relay, first)
    settle(world, oracle, bench)


@pytest.mark.fault(5, 3)
def test_two_appliers_after_a_network_cut(world):
    """The first is cut off and the server does not notice; it ends its own lost session, and no other's."""
    proxy = Proxy(lambda: world.target.port)
    relay = stream_of(world, ["public.t"], DDL, kafka=True, config={**QUICK, "target": {
        "dsn": proxy.through(world.target), "applier_wait": "60s"}})
    relay.start("capture", ready=True).start("apply", ready=True)
    world.source.execute("insert into t values (1, 'a')")
    world.wait_same("t")
    proxy.cut("rst", keep_server=True)
    world.source.execute("insert into t values (2, 'b')")
    world.wait_same("t")
    assert "our lost session" in relay.log_text("apply")
    proxy.refuse()
    proxy.cut("rst")
    wait_sessions_end(world, f"application_name = 'millrace {relay.name}'")
    other = twin(world, relay, world.kafka)
    other.start("apply")
    world.source.execute("insert into t values (3, 'c')")
    world.wait_same("t")
    proxy.heal()
    left_with_4(relay, "apply", "another instance")
    assert other.running("apply")
    proxy.close()
