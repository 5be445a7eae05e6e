"""345 Bytes vanish in one direction, and nothing is closed: no side is told. The relay notices, and connects anew.

The proxy's own end answers for TCP, as a load balancer's does that has lost its other side: keepalive and
tcp_user_timeout see nothing. What is left is to ask: network_timeout, and librdkafka's socket.timeout.ms."""
import time

import pytest

from support.children import wait_until
from support.world import stream_of

DDL = "create table public.t (id int primary key, v text); create table public.events (n int)"
TIMEOUT_S = 4
# The answer to the question may come late, the server may have to notice, and each has a backoff.
BOUND_S = 4 * TIMEOUT_S + 10


def relay_over(world, links, kafka=None):
    config = {"network_timeout": f"{TIMEOUT_S}s", "source": {"dsn": links["source"].through(world.source),
                                                           "slot_wait": "60s"},
              "target": {"dsn": links["target"].through(world.target)}}
    if kafka:
        config["log"] = {"kafka": {"socket.timeout.ms": str(TIMEOUT_S * 1000)}}
    return stream_of(world, ["public.t", "public.events"], DDL, kafka=kafka, config=config)


def feed(world, first):
    for i in range(first, first + 20):
        world.source.execute("insert into t values (%s, 'x'); insert into events values (%s)", (i, i))


@pytest.mark.fault(3)
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("name", ["source", "broker", "target"])
def test_noticed(world, links, broker, recovery, name, direction):
    # The source ends a reader whose answers do not come: its own time-out.
    world.source.execute("alter system set wal_sender_timeout = '4s'")
    world.source.execute("select pg_reload_conf()")
    relay = relay_over(world, links, broker if name == "broker" else None)
    relay.start(ready=True)
    feed(world, 0)
    world.wait_same("t", "events")
    links[name].half_cut(direction)
    with recovery():
        feed(world, 100)
        world.wait_same("t", "events", timeout_s=BOUND_S)
    assert links[name].dropped_bytes > 0
    relay.wait_status(lambda s: s["health"]["state"] in ("ok", "catching_up"), 20, "health is ok again")
    assert relay.terminate()[0] == 0


@pytest.mark.fault(3)
@pytest.mark.parametrize("name", ["source", "target"])
def test_nothing_passes_for_a_while(world, links, name, recovery):
    """New connections are taken and get no answer either; a stop ends in time, and what was missed follows."""
    relay = relay_over(world, links)
    relay.start(ready=True)
    feed(world, 0)
    world.wait_same("t", "events")
    links[name].half_cut("up", "down", new=True)
    feed(world, 100)
    relay.wait_status(lambda s: s["health"]["state"] == "blocked", BOUND_S, "health is blocked")
    links[name].heal()
    links[name].cut()
    with recovery():
        world.wait_same("t", "events", timeout_s=BOUND_S)


@pytest.mark.fault(3, 18)
@pytest.mark.parametrize("name", ["source", "target"])
def test_stops_in_time(world, links, name):
    relay = relay_over(world, links)
    relay.reconfigure(network_timeout="60s")
    relay.start(ready=True)
    feed(world, 0)
    world.wait_same("t", "events")
    links[name].half_cut("up", "down", new=True)
    feed(world, 100)
    time.sleep(1)
    code, seconds = relay.terminate(timeout_s=30)
    assert code == 0 and seconds < 5, f"exit {code} after {seconds:.1f} s"
    links[name].heal()
    links[name].cut()  # until then the server has a session of a client that is gone
    wait_until(lambda: not world.source.slot(relay.slot)["active"], 20, "the slot is let go")
    relay.catch_up()
    world.assert_same("t", "events")
