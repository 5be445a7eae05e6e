"""340 The network under load, link by link: cut, flapping, refusing, slow, narrow. The relay connects again and catches up.

Each of relay and source, relay and broker, relay and target goes through a proxy of its own. What is lost in one
direction only, with nothing closed, is 345."""
import itertools
import time

import pytest

from support.children import wait_until
from support.load import TABLES, Pgbench, TornStateOracle, init_tpcb, small_tpcb

ACCOUNTS = 1000
BOUND_S = 30
marks = itertools.count(-1, -1)


def caught_up(world, timeout_s=BOUND_S):
    """What the source has now arrives, while the load goes on."""
    mark = next(marks)
    world.source.execute("insert into pgbench_history (tid, bid, aid, delta, filler) values (0, 0, %s, 0, 'mark')", (mark,))

    def arrived():
        world.assert_running()
        return world.target.one("select exists (select from pgbench_history where aid = %s)", (mark,))
    wait_until(arrived, timeout_s, "the target catches up", 0.05)


def cut(link):
    link.cut("rst")


def end(link):
    link.cut("fin")


def vanish(link):
    """The relay is cut off, and the server does not notice."""
    link.cut("rst", keep_server=True)


def flap(link):
    for _ in range(10):
        link.cut("rst")
        time.sleep(0.15)


def refuse(link):
    link.refuse()
    link.cut("rst")
    time.sleep(2)
    link.heal()


def delay(link):
    link.slow(delay_s=0.1)
    time.sleep(2)
    link.heal()


def throttle(link):
    link.slow(bytes_per_s=20_000)
    time.sleep(2)
    link.heal()


@pytest.mark.fault(3)
@pytest.mark.parametrize("name", ["source", "broker", "target"])
def test_faults_of_a_link(world, links, broker, recovery, name):
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    relay = world.relay(TABLES, kafka=broker, config={
        "source": {"dsn": links["source"].through(world.source), "slot_wait": "60s"},
        "target": {"dsn": links["target"].through(world.target)}})
    relay.setup()
    relay.start(ready=True)
    oracle = TornStateOracle(world.target, pause_s=0.005).start()
    bench = Pgbench(world.source, seconds=1200, rate=200, script=small_tpcb(ACCOUNTS))
    caught_up(world)
    faults = [cut, end, flap, refuse, delay, throttle]
    if name == "target":
        faults.append(vanish)
    for fault in faults:
        links[name].accepted = 0
        fault(links[name])
        with recovery():
            caught_up(world)
        # What was on its way may have been enough to catch up.
        wait_until(lambda: links[name].accepted > 0 or fault in (delay, throttle),
                   what=f"{fault.__name__}: something connects again")
    bench.stop()
    world.wait_same(*TABLES)
    oracle.assert_never_torn(200)
    assert relay.terminate()[0] == 0
