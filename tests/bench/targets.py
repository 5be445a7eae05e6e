"""What the project set itself, as ratios in one run, and whether the figures reach it."""
from dataclasses import dataclass

READERS = ["eager", "lagging"]


@dataclass
class Target:
    what: str
    work: str
    contender: str
    to: list  # the best of these is 1.0
    must: float
    aim: float
    words: str  # what the ratio is to
    key: str = "rate"
    aim_to: list = None  # when the aim is measured by another yardstick
    to_key: str = None  # when theirs is another figure
    section: str = "throughput"


RATIOS = [
    Target("capture, decode only", "rows100", "decode", ["eager"], 1.8, 0.95, "eager reader", aim_to=["lagging"]),
    Target("capture → embedded log", "rows100", "capture_embedded", READERS, 0.6, 0.9, "better bare reader"),
    Target("capture → Kafka", "rows100", "capture_kafka", ["debezium_capture"], 3, 0.7, "Debezium", aim_to=READERS),
    Target("capture → Kafka", "rows100", "capture_kafka", ["debezium_capture"], 2, None, "Debezium when warm",
           to_key="warm_rate"),
    Target("capture → Kafka, memory", "rows100", "capture_kafka", ["debezium_capture"], 1 / 6, None, "Debezium", "peak_mb"),
    Target("capture → Kafka, CPU", "rows100", "capture_kafka", ["debezium_capture"], 1 / 8, None, "Debezium", "own_cpu"),
    Target("100-row transactions, Kafka", "rows100", "kafka", ["debezium"], 5, None, "Debezium + JDBC sink"),
    Target("100-row transactions, Kafka", "rows100", "kafka", ["native"], 0.4, 0.8, "native"),
    Target("100-row transactions, embedded", "rows100", "embedded", ["native"], 0.6, 1.0, "native"),
    Target("TPC-B, Kafka", "tpcb", "kafka", ["native"], 1.0, 1.5, "native"),
    Target("TPC-B, embedded", "tpcb", "embedded", ["native"], 1.2, 2.0, "native"),
    Target("single-row transactions, Kafka", "single", "kafka", ["native"], 0.9, 1.2, "native"),
    Target("single-row transactions, embedded", "single", "embedded", ["native"], 1.0, None, "native"),
    Target("insert/update/delete mix, Kafka", "mix", "kafka", ["native"], 0.4, 0.8, "native"),
    Target("insert/update/delete mix, embedded", "mix", "embedded", ["native"], 0.5, 1.0, "native"),
    Target("copying what is there, under traffic, embedded", "copy", "embedded", ["native"], 1.0, None, "native", section="history"),
]
LESS_IS_BETTER = {"peak_mb", "own_cpu"}


def verdict(measured, must, aim, less=False):
    if measured is None:
        return "not measured"

    def reached(limit):
        return measured <= limit if less else measured >= limit
    if aim is not None and reached(aim):
        return "aim reached"
    return "must reached" if reached(must) else "**not reached**"


def ratio_rows(selection):
    """(what, to what, measured, must, aim, verdict) of each ratio."""
    for target in RATIOS:
        less = target.key in LESS_IS_BETTER
        measured = selection.ratio(target.section, target.work, target.contender, target.to, target.key, target.to_key)
        if target.aim_to is None:
            yield (target.what, target.words, measured, target.must, target.aim,
                   verdict(measured, target.must, target.aim, less))
            continue
        yield target.what, target.words, measured, target.must, None, verdict(measured, target.must, None, less)
        other = selection.ratio("throughput", target.work, target.contender, target.aim_to, target.key)
        words = " or ".join(target.aim_to) + " reader" + ("s, the better" if len(target.aim_to) > 1 else "")
        yield (target.what, words, other, None, target.aim,
               "not measured" if other is None else "aim reached" if other >= target.aim else "aim not reached")


def absolute_rows(selection):
    """(what, unit, measured, must, aim, verdict); less is better in all of them."""
    def latency(contender, percentile):
        return selection.median("latency", "latency1000", contender, f"percentiles_ms/{percentile}")

    def peak(section, contender):
        found = [v for work in selection.works(section) for v in selection.values(section, work, contender, "peak_mb")]
        return max(found) if found else None
    for contender, must in (("embedded", 5), ("kafka", 10)):
        value = latency(contender, 50)
        yield f"p50 at 1,000 tx/s, {contender}", "ms", value, must, None, verdict(value, must, None, True)
    for contender in ("embedded", "kafka"):
        value = latency(contender, 99)
        yield f"p99 at 1,000 tx/s, {contender}", "ms", value, 50, 15, verdict(value, 50, 15, True)
    for contender in ("embedded", "kafka"):
        value = peak("throughput", contender)
        yield f"highest memory in any of the works above, {contender}", "MB", value, 160, 96, verdict(value, 160, 96, True)
    for contender in ("embedded", "kafka"):
        value = peak("growth", contender)
        yield f"highest memory as rows and tables grow, {contender}", "MB", value, 160, 96, verdict(value, 160, 96, True)
    for contender in ("embedded", "kafka"):
        found = [r["peak_mb"] for r in selection.section("huge") if r["contender"] == contender and r["gigabytes"] >= 10]
        value = max(found, default=None)
        yield f"highest memory in a transaction of 10 GB, {contender}", "MB", value, 160, None, verdict(value, 160, None, True)
    for contender in ("embedded", "kafka"):
        value = selection.median("idle", "idle", contender, "rss_mb")
        yield f"idle memory, {contender}", "MB", value, 64, None, verdict(value, 64, None, True)
    for contender in ("embedded", "kafka"):
        value = selection.median("idle", "idle", contender, "cpu_percent")
        yield f"idle CPU, {contender}", "% of a core", value, 0.5, None, verdict(value, 0.5, None, True)
