"""The source fails over to a standby that synchronised the slot (Postgres 17 and later). The promoted server is on another
timeline, which this version refuses by name, with 4, before anything moves: nothing is lost in silence, and the slot stays
where it was."""
import shutil
import subprocess
import time

import pytest

from support.children import wait_until
from support.compare import wait_same
from support.postgres import Database, Postgres
from support.relay import Relay
from support.versions import binaries

pytestmark = pytest.mark.fault(7)


def standby_of(primary, folder):
    """A physical standby from a cold copy. Slots are synchronised by pg_sync_replication_slots(): the worker of
    sync_replication_slots may sleep 30 s between two looks."""
    standby = Postgres("standby", binaries=folder, start=False)
    primary.execute("select pg_create_physical_replication_slot('standby', true)")
    primary.stop()
    shutil.rmtree(standby.data)
    subprocess.run(["cp", "-a", primary.data, standby.data], check=True)
    primary.start()
    (standby.data / "postmaster.pid").unlink(missing_ok=True)
    (standby.data / "standby.signal").touch()
    standby.configure(unix_socket_directories=str(standby.folder), hot_standby="on", hot_standby_feedback="on",
                      primary_slot_name="standby",
                      primary_conninfo=f"host=127.0.0.1 port={primary.port} user=postgres dbname=postgres")
    return standby.start()


@pytest.mark.parametrize("major", ["17", "18"])
@pytest.mark.parametrize("standby_is", ["ahead", "behind"])
def test_failover(world, major, standby_is):
    folder = binaries(major)
    primary = Postgres("primary", binaries=folder)
    source = primary.fresh_database("shop")
    for server in (source, world.target):
        server.execute("create table public.t (id int primary key, v text)")
    relay = Relay(source, world.target, ["public.t"], name=f"failover_{major}_{standby_is}")
    world.relays.append(relay)
    standby = standby_of(primary, folder)  # before the slot: a copy would have it as one of its own
    relay.setup()
    assert source.slot(relay.slot)["failover"]
    if standby_is == "ahead":  # the slot sends nothing that the standby has not
        primary.execute("alter system set synchronized_standby_slots = 'standby'")
        primary.execute("select pg_reload_conf()")
    relay.start(ready=True)
    numbers = iter(range(1, 100000))

    def insert():
        source.execute("insert into t values (%s, 'x')", (next(numbers),))

    def synchronised():
        insert()
        primary.execute("select pg_log_standby_snapshot()")
        time.sleep(1.5)  # the relay confirms it, and the standby, at rest by then, finds itself not behind the slot
        standby.execute("select pg_sync_replication_slots()")
        return standby.one("select synced and not temporary from pg_replication_slots where slot_name = %s", (relay.slot,))
    wait_until(synchronised, 60, "the standby has the slot")
    wait_same(source, world.target, ["t"])
    if standby_is == "behind":  # what it lacks has been applied already
        standby.stop()
        for _ in range(20):
            insert()
        wait_same(source, world.target, ["t"])
    else:
        relay.stop()
        for _ in range(20):  # the relay has not seen these, the standby has
            insert()
        place = primary.one("select pg_current_wal_lsn()::text")
        wait_until(lambda: standby.one("select pg_last_wal_replay_lsn() >= %s::pg_lsn", (place,)), 30, "the standby replays")
    relay.stop()
    primary.stop("immediate")
    if standby_is == "behind":
        standby.start()
    standby.execute("select pg_promote(true, 60)")
    promoted = Database(standby, "shop")
    before = promoted.one("select confirmed_flush_lsn from pg_replication_slots where slot_name = %s", (relay.slot,))
    applied = world.target.one("select count(*) from t")
    relay.reconfigure(source={"dsn": promoted.dsn()})
    relay.start()
    assert relay.wait(60) == 4
    assert "timeline" in relay.log_text() and "millrace teardown" in relay.log_text()
    assert promoted.one("select confirmed_flush_lsn from pg_replication_slots where slot_name = %s",
                        (relay.slot,)) == before
    assert world.target.one("select count(*) from t") == applied
    # Every row of the promoted server is in the target, or behind the slot's place.
    assert promoted.one("select count(*) from t") == applied + (20 if standby_is == "ahead" else -20)
    standby.stop("immediate")
