"""310 The state folder is damaged: cut, overwritten, files or folders gone, an old copy put back.

Row 15 of the fault matrix. Each time the log holds rows that the target lacks, in table and blob files and in the
write-ahead log, because the target is locked. What is damaged is put aside and filled again by the relay itself; the
ledger has no key, so that a row that comes twice shows."""
import shutil
from pathlib import Path

import pytest

from support.children import wait_until
from support.kills import ALL, Oracle, Workload, fingerprint, lsn

CONFIG = {"memory": "32MB", "publish": {"group_rows": 500}, "apply": {"group_rows": 500}}


class Stream:
    def __init__(self, world, **options):
        self.world, self.workload, self.bulks = world, Workload(world.source, 310), 0
        self.workload.prepare(world.target)
        self.relay = world.relay(ALL, config={**CONFIG, **options})
        self.relay.setup()
        self.state = Path(self.relay.config["state"])
        self.relay.start(ready=True)
        self.arrive()
        self.relay.kill()

    def write(self):
        for _ in range(10):
            self.workload.small()
        self.bulks += 1  # more than a memtable: blob and table files
        self.world.source.execute("delete from items where id > 1000000")
        self.world.source.execute(f"""insert into items select 1000000 * {self.bulks + 1} + g, g, repeat(md5(g::text), 100)
                                      from generate_series(1, 1200) g""")

    def wait_published(self):
        end = lsn(self.world.source.one("select pg_current_wal_lsn()::text"))
        self.relay.wait_status(lambda s: s["positions"]["published"] and
                               lsn(s["positions"]["published"]["lsn"]) >= end, 60, "everything is in the log")

    def leave_work(self):
        """Ends with a killed relay whose log holds what the target lacks, in files of every kind."""
        with self.world.target.transaction() as cursor:
            cursor.execute("lock table ledger in exclusive mode")
            for _ in range(2):  # a start moves the write-ahead log into tables and blobs
                self.relay.start()
                self.write()
                self.wait_published()
                self.relay.kill()
        assert fingerprint(self.world.source) != fingerprint(self.world.target)

    def arrive(self, timeout_s=120):
        mark = self.workload.write_mark()

        def arrived():
            assert self.relay.running(), "left by itself: " + self.relay.log_text()[-2000:]
            return self.world.target.one("select n from marks") == mark
        wait_until(arrived, timeout_s, "the last row arrives", 0.02)
        if fingerprint(self.world.source) != fingerprint(self.world.target):
            self.world.assert_same(*ALL)

    def heals(self, recovery):
        """The relay's words since its start, after everything has arrived."""
        before = len(self.relay.log_text())
        with recovery():
            self.relay.start()
            self.arrive()
        self.relay.kill()
        return self.relay.log_text()[before:]


def cut(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 3, len(content), 499):
        content[at] ^= 0x5A
    path.write_bytes(content)


HURT = {"cut": cut, "flipped": flip, "gone": Path.unlink}


@pytest.mark.fault(15)
@pytest.mark.parametrize("how", HURT)
def test_log_damaged(world, how, recovery):
    """Every kind of file of the embedded log. Lost rows of the write-ahead log come from the slot without a word;
    damage elsewhere is named, and the folder is kept aside."""
    stream = Stream(world)
    oracle = Oracle(world.source, world.target, stream.relay.slot).start()
    named = []
    for pattern in ["*.log", "*.blob", "*.sst", "MANIFEST-*", "CURRENT"]:
        stream.leave_work()
        files = list((stream.state / "log").glob(pattern))
        assert files, f"no {pattern} in the folder: the test shows too little"
        for path in files:
            HURT[how](path)
        if "the embedded log is damaged" in stream.heals(recovery):
            named.append(pattern)
            assert (stream.state / "log.damaged").is_dir()
    recovery.tries = 5
    oracle.stop().check()
    assert {"*.blob", "*.sst", "MANIFEST-*"} <= set(named), f"only damage of {named} was named"


@pytest.mark.fault(15)
def test_log_gone_or_old(world, recovery):
    stream = Stream(world)
    oracle = Oracle(world.source, world.target, stream.relay.slot).start()
    stream.leave_work()
    shutil.copytree(stream.state / "log", stream.relay.folder / "old")
    shutil.rmtree(stream.state / "log")
    stream.heals(recovery)
    stream.leave_work()
    shutil.rmtree(stream.state / "log")
    shutil.move(stream.relay.folder / "old", stream.state / "log")
    stream.heals(recovery)
    oracle.stop().check()


@pytest.mark.fault(15)
def test_log_damaged_while_it_is_read(world, recovery):
    """Found by a running relay: it rebuilds without leaving."""
    stream = Stream(world)
    oracle = Oracle(world.source, world.target, stream.relay.slot).start()
    with world.target.transaction() as cursor:
        cursor.execute("lock table ledger in exclusive mode")
        stream.relay.start()
        for _ in range(3):
            stream.write()
        stream.wait_published()
        for path in (stream.state / "log").glob("*.blob"):
            flip(path)
    pid = stream.relay.child().pid
    with recovery():
        stream.arrive()
    assert stream.relay.child().pid == pid and "the embedded log is damaged" in stream.relay.log_text()
    oracle.stop().check()


@pytest.mark.fault(15)
def test_damage_stops_where_the_slot_has_forgotten(world):
    """log.acknowledge: published: the log may be the only copy, so it is a stop with a name, and nothing is moved."""
    stream = Stream(world, log={"acknowledge": "published"})
    stream.leave_work()
    for path in (stream.state / "log").glob("*.blob"):
        flip(path)
    stream.relay.start()
    assert stream.relay.wait(60) == 1
    last = [line for line in stream.relay.log_text().splitlines() if line.startswith("millrace: ")][-1]
    assert "embedded log" in last and "Corruption" in last, last
    assert not (stream.state / "log.damaged").exists()


@pytest.mark.fault(15)
@pytest.mark.parametrize("how", HURT)
def test_offsets_damaged(world, how, recovery):
    """The folders of offsets are copies: rebuilt from log and target, with a warning where the damage is seen."""
    stream = Stream(world)
    stream.leave_work()
    for part in ["capture", "apply"]:
        for path in (stream.state / part).iterdir():
            if path.name.startswith(("MANIFEST", "OPTIONS")) or path.suffix in (".sst", ".log"):
                HURT[how](path)
    words = stream.heals(recovery)
    assert "the offsets folder is damaged; it is put aside and rebuilt" in words
    stream.leave_work()
    for part in ["capture", "apply"]:
        shutil.rmtree(stream.state / part)
    stream.heals(recovery)
    done = stream.relay.command("offsets", "list")
    assert done.returncode == 0, done.stderr
