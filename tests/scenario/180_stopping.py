"""180 SIGTERM stops within 5 s under any load, with exit 0, and the next start goes on exactly there."""
import signal
import time

import pytest

from support.load import TABLES, Pgbench, init_tpcb
from support.world import stream_of


@pytest.mark.fault(18)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_under_load(world, number):
    init_tpcb(world.source, world.target)
    relay = world.relay(TABLES)
    relay.setup()
    relay.start(ready=True)
    bench = Pgbench(world.source, seconds=6, clients=4)
    for _ in range(2):
        time.sleep(1.5)
        child = relay.children.pop("all")
        began = time.monotonic()
        child.signal(number)
        code = child.wait(10)
        seconds = time.monotonic() - began
        assert code == 0 and seconds < 5, f"exit {code} after {seconds:.1f} s"
        relay.start(ready=True)
    bench.wait()
    world.wait_same(*TABLES)


@pytest.mark.fault(18)
def test_while_the_target_holds_a_lock(world):
    relay = stream_of(world, ["public.t"], "create table public.t (id int primary key)")
    relay.start(ready=True)
    with world.target.transaction() as cursor:
        cursor.execute("lock table t in access exclusive mode")
        world.source.execute("insert into t values (1)")
        time.sleep(1)
        code, seconds = relay.terminate()
        assert code == 0 and seconds < 5, f"exit {code} after {seconds:.1f} s"
    relay.catch_up()
    world.assert_same("t")


@pytest.mark.fault(18)
def test_in_the_middle_of_a_large_transaction(world):
    relay = stream_of(world, ["public.t"], "create table public.t (id int primary key, v text)")
    relay.start(ready=True)
    world.source.execute("insert into t select g, repeat('x', 100) from generate_series(1, 300000) g")
    time.sleep(0.5)
    code, seconds = relay.terminate()
    assert code == 0 and seconds < 5, f"exit {code} after {seconds:.1f} s"
    relay.catch_up()
    world.assert_same("t")


@pytest.mark.fault(18)
@pytest.mark.parametrize("away", ["source", "target"])
def test_while_a_server_is_away(world, away):
    relay = stream_of(world, ["public.t"], "create table public.t (id int primary key)")
    relay.start(ready=True)
    getattr(world, away).server.stop("fast")
    time.sleep(1)
    code, seconds = relay.terminate()
    assert code == 0 and seconds < 5, f"exit {code} after {seconds:.1f} s"
    getattr(world, away).server.start()


@pytest.mark.fault(18)
def test_while_the_broker_is_away(world):
    relay = stream_of(world, ["public.t"], "create table public.t (id int primary key)", kafka=True)
    relay.start(ready=True)
    world.source.execute("insert into t values (1)")
    world.wait_same("t")
    world.kafka.kill()
    world.source.execute("insert into t values (2)")
    time.sleep(1)
    code, seconds = relay.terminate()
    world.kafka.start()
    assert code == 0 and seconds < 5, f"exit {code} after {seconds:.1f} s"
    relay.catch_up()
    world.assert_same("t")


def test_until_caught_up_is_for_scripts(world):
    """It ends with 0 when all that was committed before has arrived, also when that is nothing."""
    relay = stream_of(world, ["public.t"], "create table public.t (id int primary key)")
    for i in range(3):
        relay.catch_up(timeout_s=20)
        world.source.execute("insert into t values (%s)", (i,))
    world.source.execute("create table noise as select g from generate_series(1, 1000) g")
    relay.catch_up(timeout_s=20)
    world.assert_same("t")
