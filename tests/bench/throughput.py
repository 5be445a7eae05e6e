"""Throughput: the work is made while nobody reads; the clock runs from a contender's start until it has the last row.

Every contender has a slot that was made before the work, so all of them read the same WAL, in turn, round by round.
"""
import time

from support import compare
from support.children import wait_until

from . import meters

TIMEOUT_S = 900
WARM_UPS = 2


def warm_ups(bench, classes):
    """Who goes before the first round and is not counted. A broker runs for weeks, as the servers and their caches do, and what
    its JVM compiles in its first half million records costs it as much again."""
    brokered = [kind for kind in classes if kind.broker and kind.needs_target]
    if not brokered or bench.broker_is_warm:
        return []
    bench.broker_is_warm = True
    return brokered[:1] * WARM_UPS


class Prepared:
    """A work that stands in the source, with one contender a class and round waiting in front of it."""

    def __init__(self, bench, work, classes, rounds, config=None, warm=True):
        self.bench, self.work = bench, work
        self.source, self.template = bench.databases()
        work.prepare(self.source, self.template)
        self.queue = []  # (round, contender) in the order in which they run
        turns = [(None, kind) for kind in (warm_ups(bench, classes) if warm else [])]
        turns += [(number, kind) for number in range(rounds) for kind in classes]
        for number, kind in turns:
            target = bench.copy_of(self.template) if kind.needs_target else None
            label = f"bench{bench.number()}"
            self.queue.append((number, kind(bench, self.source, target, work.tables, label, config=config)))
        work.change(self.source)
        self.source.execute("insert into bench_end values (1)")
        bench.end_lsn = self.end_lsn = self.source.lsn()
        bench.source.execute("checkpoint")
        self.sums = {}

    def close(self):
        self.bench.drop(self.source, self.template)

    def assert_same(self, target):
        """compare.assert_same in one session, for a thousand tables, and with the source's sums taken once."""
        if not self.sums:
            self.sums = self.sums_of(self.source)
        for table, found in self.sums_of(target).items():
            if found != self.sums[table]:
                compare.assert_same(self.source, target, [table])
                raise AssertionError(f"{table}: the sums differ")

    def sums_of(self, server):
        connection, sums = server.connect(), {}
        with connection.cursor() as cursor:
            cursor.execute(compare.SESSION)
            for table in self.work.tables:
                names = ", ".join(map(compare.quote, compare.columns(self.source, table)))
                cursor.execute(compare.CHECKSUM.format(columns=names, table=table))
                sums[table] = cursor.fetchone()
        connection.close()
        return sums


def _watch(contender, end_lsn, timeout_s):
    def arrived():
        contender.notice()
        return contender.arrived(end_lsn)
    wait_until(arrived, timeout_s, f"{contender.name} has everything", 0.02)


def drain(prepared, contender, timeout_s=TIMEOUT_S):
    """Starts the contender over the backlog; its figures."""
    bench, changes = prepared.bench, prepared.work.changes
    bench.target.execute("checkpoint")
    bench.end_lsn = prepared.end_lsn
    broker_cpu = meters.process_cpu(bench.broker_pid()) if contender.broker else 0
    wire = meters.loopback_bytes()
    sampler = meters.Sampler(contender.pids, contender.kb)
    began = time.monotonic()
    began = contender.start() or began
    sampler.start()
    _watch(contender, prepared.end_lsn, timeout_s)
    seconds = time.monotonic() - began
    sampler.stop()
    sampler.look()
    wire = meters.loopback_bytes() - wire
    stages = contender.stages()
    if contender.broker:
        stages["broker"] = meters.process_cpu(bench.broker_pid()) - broker_cpu
    peak_mb = max(sampler.peak_mb, contender.peak_kb() / 1024)
    own = contender.finished()
    if own:
        seconds, stages["reader"], peak_mb = own["seconds"], own["cpu_s"], None
    if not contender.reads_only:
        prepared.assert_same(contender.target)
    own_cpu = sum(v for name, v in stages.items() if name not in ("walsender", "target", "broker"))
    return {"rate": changes / seconds, "seconds": seconds, "own_cpu": own_cpu / changes * 1e6, "peak_mb": peak_mb,
            "cpu_s_per_million": {name: value / changes * 1e6 for name, value in stages.items()},
            **contender.more(changes), "wire_bytes_a_change": wire / changes, "stream_bytes_a_change": own["bytes"] / changes if own else None,
            "memory": sampler.thinned()}


def run(bench, works, classes, rounds, record, *, section="throughput", config=None, timeout_s=TIMEOUT_S):
    for work in works:
        began = time.monotonic()
        prepared = Prepared(bench, work, classes, rounds, config, warm=section != "huge")  # there memory is what counts
        bench.say(f"{work.title}: {work.changes:,} changes made in {time.monotonic() - began:.0f} s")
        for number, contender in prepared.queue:
            figures = drain(prepared, contender, timeout_s)
            contender.stop()
            if contender.target:
                bench.target.drop_database(contender.target)
            if number is None:
                bench.say(f"warmed up: {contender.name}, {figures['rate']:,.0f}/s")
                continue
            record({"section": section, "work": work.name, "contender": contender.name, "round": number,
                    "changes": work.changes, **work.columns, **figures})
        prepared.close()
