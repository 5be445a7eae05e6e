"""Idle: what a contender costs when the source is at rest, over a window."""
import time

from . import latency, meters

SETTLE_S = 3


def measure(contender, seconds):
    time.sleep(SETTLE_S)
    pids = contender.pids()
    before, began = sum(map(meters.threads_cpu, pids)), time.monotonic()
    stages = contender.stages()
    time.sleep(seconds)
    took = time.monotonic() - began
    cpu = sum(map(meters.threads_cpu, pids)) - before
    after = contender.stages()
    return {"cpu_percent": cpu / took * 100, "rss_mb": sum(map(contender.kb, pids)) / 1024,
            "walsender_percent": (after.get("walsender", 0) - stages.get("walsender", 0)) / took * 100,
            "target_percent": (after.get("target", 0) - stages.get("target", 0)) / took * 100}


def run(bench, classes, rounds, record, seconds):
    for number in range(rounds):
        for kind in classes:
            contender = latency.begin(bench, kind)
            record({"section": "idle", "work": "idle", "contender": contender.name, "round": number,
                    **measure(contender, seconds)})
            latency.end(bench, contender)
