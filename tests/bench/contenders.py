"""Who is measured. A contender is made (with its slot) before the work, started over the backlog, looked at, and ended.

All take the source over TCP. `reads` are contenders that only read the slot or fill a log; `writes` those that bring
the rows into the target. `stages()` is CPU seconds by who spent them.
"""
import json
import subprocess
import time
from pathlib import Path

from support.children import ROOT, Child
from support.relay import Relay, binary, merge

from . import meters

SETUP_TRIES = 10


class Contender:
    name = title = ""
    reads_only = False  # nothing arrives in the target
    needs_target = True
    broker = False

    def __init__(self, bench, source, target, tables, label):
        self.bench, self.source, self.target, self.tables, self.label = bench, source, target, tables, label

    def pids(self):
        return []

    def kb(self, pid):
        return meters.status_kb(pid, "VmRSS")

    def peak_kb(self):
        return sum(meters.status_kb(pid, "VmHWM") for pid in self.pids())

    def notice(self):
        """Called again and again while it works: what can not be asked any more when it has ended."""

    def slot_name(self):
        return self.label

    def walsender_pid(self):
        return self.bench.source.one("select active_pid from pg_replication_slots where slot_name = %s", (self.slot_name(),))

    def walsender(self):
        pid = self.walsender_pid()
        return {"walsender": meters.threads_cpu(pid)} if pid else {}

    def arrived(self, _end_lsn):
        return self.target.one("select exists (select from bench_end)")

    def finished(self):
        """What the contender itself says of its run; for the readers, which end by themselves."""
        return {}

    def more(self, _changes):
        """Figures that this contender alone has."""
        return {}


class Native(Contender):
    """CREATE SUBSCRIPTION: the walsender and one apply worker."""
    name, title = "native", "Postgres' own"
    copy_data = "false"
    pid = None

    def __init__(self, *arguments, config=None):
        super().__init__(*arguments)
        self.source.execute(f"create publication {self.label} for table {', '.join(self.tables)}")
        self.source.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (self.label,))
        self.target.execute(f"create subscription {self.label} connection '{self.source.dsn()}' publication {self.label} "
                            f"with (create_slot = false, slot_name = '{self.label}', copy_data = {self.copy_data}, "
                            "enabled = false)")

    def start(self):
        self.target.execute(f"alter subscription {self.label} enable")

    def notice(self):
        if self.pid is None:
            self.pid = self.target.one("select pid from pg_stat_subscription where subname = %s", (self.label,))

    def pids(self):
        return [self.pid] if self.pid else []

    def kb(self, pid):
        return meters.own_kb(pid)

    def peak_kb(self):
        return 0  # the high-water mark would count shared buffers: the samples say it

    def stages(self):
        return {**self.walsender(), "target": sum(map(meters.threads_cpu, self.pids()))}

    def stop(self):
        self.target.execute(f"alter subscription {self.label} disable")
        self.target.execute(f"alter subscription {self.label} set (slot_name = none)")
        self.target.execute(f"drop subscription {self.label}")
        self.source.wait_slot_free(self.label, 30)
        self.source.execute("select pg_drop_replication_slot(%s)", (self.label,))
        self.source.execute(f"drop publication {self.label}")


class Millrace(Contender):
    name, title = "embedded", "Millrace, embedded log"
    roles = ("all",)
    config = {}

    def __init__(self, *arguments, config=None):
        super().__init__(*arguments)
        self.relay = Relay(self.source, self.target, self.tables, name=self.label,
                           kafka=self.bench.kafka() if self.broker else None, config=merge(self.config, config or {}))
        self.set_up()

    def set_up(self):
        """A broker that was just given a hundred topics may not lead them yet; `setup` is idempotent, and is told again."""
        for _ in range(SETUP_TRIES):
            done = self.relay.command("setup", timeout_s=300)
            if done.returncode != 1 or not self.broker:
                break
            time.sleep(1)
        assert done.returncode == 0, f"setup: {done.returncode}\n{done.stderr}"

    def slot_name(self):
        return self.relay.slot

    def start(self):
        for role in self.roles:
            self.relay.start(role)

    def pids(self):
        return [child.pid for child in self.relay.children.values()]

    def stages(self):
        found = self.walsender()
        for pid in self.pids():
            for stage, seconds in meters.by_stage(pid).items():
                found[stage] = found.get(stage, 0.0) + seconds
        backends = self.bench.target.execute(
            "select pid from pg_stat_activity where datname = %s and application_name like 'millrace%%'",
            (self.target.database,))
        found["target"] = sum(meters.threads_cpu(pid) for (pid,) in backends)
        return found

    def published(self, end_lsn):
        status = self.relay.status(self.roles[0])
        published = status and status["positions"]["published"]
        return bool(published) and as_number(published["lsn"]) >= as_number(end_lsn)

    def stop(self):
        self.relay.stop()
        done = self.relay.command("teardown", "--yes")
        assert done.returncode == 0, done.stderr


class MillraceKafka(Millrace):
    name, title, broker = "kafka", "Millrace, Kafka", True


class MillraceSplit(MillraceKafka):
    """Capture and apply as two processes, as they run on two machines."""
    name, title, roles = "split", "Millrace, Kafka, two processes", ("capture", "apply")


class CaptureKafka(MillraceKafka):
    name, title, roles, reads_only = "capture_kafka", "capture → Kafka", ("capture",), True

    def arrived(self, end_lsn):
        return self.published(end_lsn)


class CaptureEmbedded(Millrace):
    """The embedded log has one process, so apply is there too; it waits for the target, which somebody else holds."""
    name, title, reads_only = "capture_embedded", "capture → embedded log", True
    config = {"target": {"applier_wait": "1h"}}

    def start(self):
        self.holder = self.target.connect()
        with self.holder.cursor() as cursor:
            cursor.execute("select pg_advisory_lock(hashtextextended('millrace applier ' || %s, 0))", (self.label,))
        super().start()

    def arrived(self, end_lsn):
        return self.published(end_lsn)

    def stop(self):
        self.relay.stop()  # before the lock goes: apply would begin
        self.holder.close()
        super().stop()


class Reader(Contender):
    """bench_readers: libpq and the slot, nothing behind it. eager: the usual loop; lagging: lets its window fill."""
    name, title, reads_only, mode = "eager", "bare reader, eager", True, "eager"
    needs_target = False

    def __init__(self, *arguments, config=None):
        super().__init__(*arguments)
        self.source.execute(f"create publication {self.label} for table {', '.join(self.tables)}")
        self.source.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (self.label,))
        self.child, self.seen, self.sender = None, {}, None

    def start(self):
        self.output = self.bench.folder / f"{self.label}.json"
        with open(self.output, "wb") as out:
            self.child = Child([readers(), self.mode, self.source.dsn(), self.label, self.label,
                                self.bench.end_lsn], stdout=out, log=self.bench.folder / f"{self.label}.log")

    def pids(self):
        return [self.child.pid] if self.child and self.child.running() else []

    def notice(self):
        """It ends by itself, and its walsender with it: what that had used is seen a moment before."""
        self.sender = self.sender or self.walsender_pid()
        if used := self.sender and meters.threads_cpu(self.sender):
            self.seen = {"walsender": used}

    def stages(self):
        return self.seen  # its own are in its JSON

    def arrived(self, _end_lsn):
        return not self.child.running()

    def finished(self):
        log = Path(self.bench.folder / f"{self.label}.log")
        assert self.child.wait(10) == 0, f"{readers()} {self.mode}: {log.read_text()}"
        return json.loads(self.output.read_text())

    def stop(self):
        self.source.wait_slot_free(self.label, 30)
        self.source.execute("select pg_drop_replication_slot(%s)", (self.label,))
        self.source.execute(f"drop publication {self.label}")


class Lagging(Reader):
    name, title, mode = "lagging", "bare reader, window filled", "lagging"


class DecodeOnly(Reader):
    name, title, mode = "decode", "Millrace, decode only", "decode"


READERS = [Reader, Lagging, DecodeOnly]
CAPTURES = [CaptureEmbedded, CaptureKafka]
END_TO_END = [Native, Millrace, MillraceKafka, MillraceSplit]
MAIN = [Native, Millrace, MillraceKafka]  # of what is not throughput
ALL = READERS + CAPTURES + END_TO_END


def readers():
    """The program bench_readers: of the build that the relay's binary is of, if that can be told."""
    near = [folder / "tests/bench/bench_readers" for folder in binary().resolve().parents]
    return next((path for path in [*near, ROOT / "build/release/tests/bench/bench_readers"] if path.exists()), None)


def available(contender):
    return readers() is not None if issubclass(contender, Reader) else True


def as_number(lsn):
    high, _, low = lsn.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def version():
    return subprocess.run([binary(), "version"], capture_output=True, text=True).stdout.split("\n")[0]
