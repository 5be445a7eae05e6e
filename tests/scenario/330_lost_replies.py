"""330 The answer to a COMMIT or a Produce is lost, or the request is: what happened is read back, never guessed.

A proxy takes single messages away between relay and target, or relay and broker, and cuts the connection. The sums of
TPC-B are watched meanwhile; its history has no key, so a transaction that is applied twice stays visible."""
import pytest

from support.children import wait_until
from support.kafka import Kafka
from support.load import TABLES, Pgbench, TornStateOracle, init_tpcb, small_tpcb
from support.proxy import LostCommits, LostProduce, Proxy

ACCOUNTS = 1000
TRIES = 30
PRODUCE_TRIES = 12  # after each the client library waits up to two seconds before it connects again


def watched_load(world, rules, rate=400):
    """Load until enough was taken away; the oracle looks on all the time."""
    oracle = TornStateOracle(world.target, pause_s=0.005).start()
    rules.armed = True
    bench = Pgbench(world.source, seconds=1200, rate=rate, script=small_tpcb(ACCOUNTS))

    def enough():
        world.assert_running()
        assert bench.running()
        return rules.dropped >= rules.most
    wait_until(enough, 100, f"{rules.most} were taken away", 0.1)
    bench.stop()
    return oracle


def check(world, relay, oracle, rules, recovery):
    with recovery():
        world.wait_same(*TABLES, timeout_s=60)
    recovery.tries = rules.dropped
    oracle.assert_never_torn(200)
    assert world.source.one("select count(*) from pgbench_history") == world.target.one(
        "select count(*) from pgbench_history")
    for role in list(relay.children):
        assert relay.running(role)
    relay.stop()


@pytest.mark.fault(2)
@pytest.mark.parametrize("mode", ["reply", "request", "late"])
def test_commit_at_the_target(world, recovery, mode):
    """reply: committed, but the relay does not hear of it. request: it never came. late: it comes when the relay has long
    connected anew, and must not be taken for another instance's."""
    rules = LostCommits(mode, every=4, most=TRIES)
    proxy = Proxy(world.target.port, rules)
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    relay = world.relay(TABLES, config={"target": {"dsn": proxy.through(world.target)}})
    relay.setup()
    relay.start(ready=True)
    oracle = watched_load(world, rules)
    check(world, relay, oracle, rules, recovery)
    proxy.close()


@pytest.mark.fault(2)
def test_produce_at_the_log(world, recovery):
    """The broker has the records (or the manifest), and the producer does not know."""
    rules = LostProduce(every=4, most=PRODUCE_TRIES)
    broker = Kafka(proxied=True, watch=rules)
    init_tpcb(world.source, world.target, accounts=ACCOUNTS)
    relay = world.relay(TABLES, kafka=broker)
    relay.setup()
    relay.start("capture", ready=True).start("apply", ready=True)
    oracle = watched_load(world, rules)
    check(world, relay, oracle, rules, recovery)
    broker.kill()
    broker.proxy.close()
