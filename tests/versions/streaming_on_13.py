"""source.streaming: on is refused by name on a Postgres 13, which does not know it, and the pipeline runs without it."""
from support.postgres import Postgres
from support.relay import Relay
from support.compare import wait_same
from support.versions import binaries


def test_refused(world):
    source = Postgres("oldest", binaries=binaries("13")).fresh_database("shop")
    for server in (source, world.target):
        server.execute("create table public.t (id int primary key, v text)")
    relay = Relay(source, world.target, ["public.t"], name="oldest", config={"source": {"streaming": "on"}})
    world.relays.append(relay)
    checked = relay.command("check")
    assert checked.returncode == 3
    assert "source.streaming: on needs Postgres 14 or later" in checked.stdout + checked.stderr
    relay.start()
    assert relay.wait(60) == 2
    assert "set source.streaming: off" in relay.log_text()
    relay.reconfigure(source={"streaming": "off"})
    relay.start(ready=True)
    source.execute("insert into t values (1, 'x')")
    wait_same(source, world.target, ["t"])
    relay.stop()
    source.server.stop("immediate")
