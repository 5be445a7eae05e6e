"""History: rows that are in the source before anybody reads, copied over by who can: Postgres' own, and the backfill."""
import time

from support.children import wait_until

from . import meters, work
from .contenders import Millrace, MillraceKafka, Native

TIMEOUT_S = 1800


class NativeCopy(Native):
    """The subscription's first copy, by a worker of its own; what that one costs is not seen from outside."""
    copy_data = "true"


class Backfill(Millrace):
    config = {"backfill": {"on_start": "on"}}


class BackfillKafka(MillraceKafka):
    config = Backfill.config


def begin(bench, rows, kind):
    """The contender with its databases; None when this build of it copies no history."""
    source, target = bench.databases()
    work.both(source, target, work.ROWS_DDL)
    source.execute(f"insert into {work.ROWS} select {work.ROW} from generate_series(1, {rows}) g; analyze {work.ROWS}")
    source.execute("checkpoint")
    try:
        return kind(bench, source, target, [work.ROWS], f"bench{bench.number()}")
    except AssertionError as error:
        if "not built" not in str(error):
            raise
        bench.drop(source, target)
        return None


def measure(contender, rows):
    """The last key comes last, in one transaction or in many; then all must be there."""
    target = contender.target
    sampler = meters.Sampler(contender.pids, contender.kb)
    began = time.monotonic()
    contender.start()
    sampler.start()

    def arrived():
        contender.notice()
        return (target.one(f"select exists (select from {work.ROWS} where id = {rows})") and
                target.one(f"select count(*) from {work.ROWS}") == rows)
    wait_until(arrived, TIMEOUT_S, f"{contender.name} has copied all", 0.05)
    seconds = time.monotonic() - began
    sampler.look()
    sampler.stop()
    stages = contender.stages()
    own_cpu = sum(v for name, v in stages.items() if name not in ("walsender", "target", "broker"))
    return {"rate": rows / seconds, "seconds": seconds, "peak_mb": max(sampler.peak_mb, contender.peak_kb() / 1024),
            "own_cpu": own_cpu / rows * 1e6, "cpu_s_per_million": {k: v / rows * 1e6 for k, v in stages.items()}}


def run(bench, rows, classes, rounds, record):
    kinds = {Native: NativeCopy, Millrace: Backfill, MillraceKafka: BackfillKafka}
    for number in range(rounds):
        for kind in [kinds[c] for c in classes]:
            contender = begin(bench, rows, kind)
            if contender is None:
                bench.say(f"history: {kind.name} left out, this build has no backfill")
                continue
            figures = measure(contender, rows)
            contender.stop()
            bench.drop(contender.source, contender.target)
            record({"section": "history", "work": "history", "contender": kind.name, "round": number, "rows": rows,
                    **figures})
