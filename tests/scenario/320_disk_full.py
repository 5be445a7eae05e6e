"""320 The disk under the state folder is full: blocked with a reason, the slot stays, and it goes on when there is room.

Row 14 of the fault matrix, on a small tmpfs. Mounting needs root; MILLRACE_NO_MOUNT=1 says that it can not be had."""
import json
import os
import subprocess

import pytest

from support.children import temp_folder, wait_until
from support.kills import ALL, Oracle, Workload, lsn


@pytest.fixture
def disk():
    if os.environ.get("MILLRACE_NO_MOUNT") == "1":
        pytest.skip("MILLRACE_NO_MOUNT=1: row 14 of the fault matrix is not shown, because nothing may be mounted")
    folder = temp_folder("millrace_disk_")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk, leave=0):
    with open(disk / "filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 65536)
        except OSError:
            pass
        filler.truncate(max(0, filler.tell() - leave))


def pipeline(world, disk, **options):
    workload = Workload(world.source, 320)
    workload.prepare(world.target)
    relay = world.relay(ALL, config={"memory": "32MB", "state": str(disk / "state")}, **options)
    relay.setup()
    return relay, workload


def is_blocked_by(disk):
    def blocked(status):
        why = status["health"]["why"]
        return status["health"]["state"] == "blocked" and "No space left" in why and str(disk) in why
    return blocked


def write_much(world, workload, times=3):
    """8 MB of the log a time, of which the target keeps nothing."""
    for _ in range(times):
        workload.small()
        world.source.execute("insert into items select 1000000 + g, g, repeat(md5(g::text), 100) "
                             "from generate_series(1, 2500) g")
        world.source.execute("delete from items where id > 1000000")


@pytest.mark.fault(14)
def test_full_under_the_log(world, disk, recovery):
    """While rows stream. The target gets what was in the log before; the slot keeps the rest."""
    relay, workload = pipeline(world, disk)
    relay.start(ready=True)
    pid = relay.child().pid
    oracle = Oracle(world.source, world.target, relay.slot).start()
    for _ in range(2):
        fill(disk, leave=1 << 20)
        write_much(world, workload)
        relay.wait_status(is_blocked_by(disk), 60, "blocked, and the folder is named")
        assert world.source.slot(relay.slot)["wal_status"] in ("reserved", "extended")
        confirmed = world.source.slot(relay.slot)["confirmed_flush_lsn"]  # first: both may move
        applied = world.target.one("select end_lsn::text from millrace.applied")
        assert lsn(confirmed) <= lsn(applied)
        with recovery():
            (disk / "filler").unlink()
            world.wait_same(*ALL, timeout_s=60)
        relay.wait_status(lambda s: s["health"]["state"] == "ok", 30, "healthy again")
    assert relay.child().pid == pid
    oracle.stop().check()
    assert relay.terminate()[0] == 0


@pytest.mark.fault(14)
def test_full_at_the_start(world, disk, recovery):
    """Not a byte is left when the process starts: it waits, and shows why."""
    relay, workload = pipeline(world, disk)
    workload.small()
    fill(disk)
    relay.start()
    write_much(world, workload, 2)
    relay.wait_status(is_blocked_by(disk), 60, "blocked, and the folder is named")
    with recovery():
        (disk / "filler").unlink()
        world.wait_same(*ALL, timeout_s=60)
    assert relay.running()


@pytest.mark.fault(14)
def test_full_under_the_offsets(world, disk, recovery):
    """With Kafka the folder is only a copy: a warning, and the stream goes on; the copy follows when there is room."""
    relay, workload = pipeline(world, disk, kafka=True)
    relay.start(ready=True)
    fill(disk)

    def warned():
        workload.small()
        assert relay.running()
        return "offsets could not be written" in relay.log_text()
    wait_until(warned, 60, "a warning of the full disk", 0.01)
    world.wait_same(*ALL)
    assert relay.status()["health"]["state"] == "ok"
    (disk / "filler").unlink()
    workload.small()
    end = lsn(world.source.one("select pg_current_wal_lsn()::text"))

    def recorded():
        done = relay.command("offsets", "show", "--json")
        assert done.returncode == 0, done.stderr
        return end <= max((lsn(text) for text in positions(json.loads(done.stdout))), default=0)
    with recovery():
        wait_until(recorded, 60, "the copy follows", 0.2)


def positions(value):
    """Every LSN in the output of `offsets show`."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [found for one in value for found in positions(one)]
    text = str(value).split(":")[-1]
    return [text] if text.count("/") == 1 and all(c in "0123456789ABCDEF/" for c in text) else []
