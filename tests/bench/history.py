"""History: pgbench's tables, full before anybody reads, are copied over while pgbench goes on changing them.

Postgres' own copy beside Millrace's, of the same source, in turn; the clock runs from the contender's start until every
table is copied and can be seen. Then Millrace's copy is verified. What copying and verifying cost the source is seen by a
pgbench that goes as fast as it can for a few seconds: alone, beside a copy, beside verify, in turn too."""
import json
import subprocess
import time

from support.children import wait_until
from support.load import TABLES, Pgbench
from support.relay import binary

from . import meters
from .contenders import Millrace, MillraceKafka, Native

TIMEOUT_S = 3600
TRAFFIC = 100  # transactions/s, all the time
ACCOUNTS = "public.pgbench_accounts"


class Backends:
    """CPU of server processes that come and go: what each had used when it was last seen."""

    def __init__(self, server, condition):
        self.server, self.condition, self.seen, self.next_look = server, condition, {}, 0.0

    def look(self):
        """Half a second apart at least: a look costs the servers what the contenders would need."""
        if time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + 0.5
        for (pid,) in self.server.execute(f"select pid from pg_stat_activity where {self.condition}"):
            self.seen[pid] = max(self.seen.get(pid, 0.0), meters.threads_cpu(pid))

    def seconds(self):
        return sum(self.seen.values())


class NativeCopy(Native):
    """The subscription's first copy: a worker for each table, two at once."""
    copy_data = "true"

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.readers = Backends(self.bench.source, "backend_type = 'walsender'")
        self.workers = Backends(self.bench.target, "backend_type = 'logical replication worker'")

    def notice(self):
        self.readers.look()
        self.workers.look()

    def pids(self):
        return list(self.workers.seen)

    def copied(self):
        return self.target.one("select count(*) = %s from pg_subscription_rel where srsubstate in ('f', 's', 'r')", (len(self.tables),))

    def stages(self):
        return {"source": self.readers.seconds(), "target": self.workers.seconds()}


class Backfill(Millrace):
    config = {"backfill": {"on_start": "on", "head_start": "30s"}, "memory": "128MB"}  # as it is by default

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        ours = "(application_name like 'millrace%%' or query like 'COPY (SELECT%%')".replace("%%", "%")
        self.readers = Backends(self.bench.source, f"{ours} and datname = '{self.source.database}'")
        self.workers = Backends(self.bench.target, f"{ours} and datname = '{self.target.database}'")

    def notice(self):
        self.readers.look()
        self.workers.look()

    def copied(self):
        return self.target.one("select count(*) = %s from millrace.progress where state = 'done'", (len(self.tables) - 1,))

    def stages(self):
        found = {"source": self.readers.seconds(), "target": self.workers.seconds()}
        for pid in self.pids():
            for stage, seconds in meters.by_stage(pid).items():
                found[stage] = found.get(stage, 0.0) + seconds
        return found


class BackfillKafka(MillraceKafka, Backfill):
    pass


KINDS = {Native: NativeCopy, Millrace: Backfill, MillraceKafka: BackfillKafka}


def filled(bench, scale):
    """pgbench's tables with scale * 100,000 accounts; the history has no key, and Millrace does not copy it, so it begins empty."""
    source = bench.source.fresh_database(f"history{bench.number()}")
    subprocess.run([source.bin / "pgbench", "-i", "-q", "-s", str(scale), source.dsn()], check=True, capture_output=True)
    source.execute("checkpoint")
    return source


def begin(bench, source, kind):
    target = bench.target.fresh_database(f"b{bench.number()}")
    subprocess.run([target.bin / "pgbench", "-i", "-I", "dtp", "-q", target.dsn()], check=True, capture_output=True)
    return kind(bench, source, target, TABLES, f"bench{bench.number()}")


def end(bench, contender):
    contender.stop()
    bench.target.drop_database(contender.target)
    for server in (bench.source, bench.target):
        server.execute("checkpoint")


def caught_up(contender):
    """When the target has a change that the source makes now, and so all before it."""
    name = f"seen by {contender.label}"
    contender.source.execute("update pgbench_tellers set filler = %s where tid = 1", (name,))
    seen = "select exists (select 1 from pgbench_tellers where filler = %s::char(84))"
    wait_until(lambda: contender.target.one(seen, (name,)), TIMEOUT_S, f"{contender.name} has caught up", 0.05)
    return time.monotonic()


def copy(contender, rows):
    sampler = meters.Sampler(contender.pids, contender.kb)
    began = time.monotonic()
    contender.start()
    sampler.start()

    def copied():
        contender.notice()
        return contender.copied()
    wait_until(copied, TIMEOUT_S, f"{contender.name} has copied all", 0.1)
    seconds = time.monotonic() - began
    caught_up_s = caught_up(contender) - began
    sampler.look()
    sampler.stop()
    there = contender.target.one(f"select count(*) from {ACCOUNTS}")
    assert there == rows, f"{contender.name} has copied {there} of {rows} rows"
    stages = contender.stages()
    own_cpu = sum(v for name, v in stages.items() if name not in ("source", "target", "broker"))
    return {"rate": rows / seconds, "seconds": seconds, "caught_up_s": caught_up_s, "peak_mb": max(sampler.peak_mb, contender.peak_kb() / 1024),
            "own_cpu": own_cpu / rows * 1e6, "cpu_s_per_million": {k: v / rows * 1e6 for k, v in stages.items()}}


class Verify:
    """`millrace verify` of the accounts, as a process of its own."""

    def __init__(self, contender, rows):
        self.rows, self.log = rows, contender.bench.folder / f"verify_{contender.label}.json"
        self.began = time.monotonic()
        with open(self.log, "w") as out:
            self.process = subprocess.Popen([binary(), "verify", "--json", "--table", ACCOUNTS, "-c", contender.relay.path],
                                            stdout=out, stderr=subprocess.PIPE)

    def wait(self):
        """Rows/s. One that changes all the time may be unresolved; there is no difference."""
        said = self.process.communicate(timeout=TIMEOUT_S)[1]
        seconds = time.monotonic() - self.began
        assert self.process.returncode in (0, 1), f"verify: {self.process.returncode}\n{said.decode()}"
        report = json.loads(self.log.read_text())
        compared = sum(table["compared"] for table in report["tables"])
        assert compared == self.rows and not report["differences"], report
        return {"rate": compared / seconds, "seconds": seconds,
                "unresolved": sum(table["unresolved"] for table in report["tables"])}

    def stop(self):
        self.process.kill()
        self.process.wait()


def unhindered(source, seconds):
    """Transactions/s of a pgbench that does what it can."""
    return Pgbench(source, seconds=seconds, clients=2).wait(seconds + 60)


def effect(source, seconds, still_going):
    """The same beside something; None when that had ended before."""
    tps = unhindered(source, seconds)
    return tps if still_going() else None


def run(bench, scale, classes, rounds, window_s, record):
    source = filled(bench, scale)
    rows = scale * 100_000
    base = {"section": "history", "rows": rows}

    def traffic():
        return Pgbench(source, seconds=TIMEOUT_S * 10, clients=1, rate=TRAFFIC)
    for number in range(rounds):
        for kind in [KINDS[c] for c in classes]:
            line = {**base, "contender": kind.name, "round": number}
            load = traffic()
            contender = begin(bench, source, kind)
            record({**line, "work": "copy", **copy(contender, rows)})
            if isinstance(contender, Millrace):
                record({**line, "work": "verify", **Verify(contender, rows).wait()})
            assert load.running(), "pgbench has ended"
            load.stop()
            if isinstance(contender, Millrace) and window_s:
                verify = Verify(contender, rows)
                tps = effect(source, window_s, lambda: verify.process.poll() is None)
                verify.stop()
                record({**line, "work": "beside verify", "tps": tps})
            end(bench, contender)
            if not window_s:
                continue
            record({**line, "work": "beside nothing", "tps": unhindered(source, window_s)})
            contender = begin(bench, source, kind)
            contender.start()
            wait_until(lambda: contender.target.one(f"select pg_relation_size('{ACCOUNTS}')") > 0, 60, "the copy begins")
            record({**line, "work": "beside a copy", "tps": effect(source, window_s, lambda: not contender.copied())})
            end(bench, contender)
    bench.source.drop_database(source)
