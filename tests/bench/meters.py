"""What a run costs: CPU time by thread and process, memory over time, bytes over the loopback, all from /proc."""
import os
import threading
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
EVERY_S = 0.1
POINTS_MAX = 120

# Threads of the relay that are one stage for a reader of the table; the rest is "other".
STAGES = {"capture": "capture", "feedback": "capture", "log writer": "log", "apply": "apply"}
LOG_PREFIXES = ("rdk:", "rocksdb:", "nudger")


def _stat_cpu(path):
    """user + system seconds; the name in brackets may hold anything, so what follows its end is split."""
    fields = Path(path).read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def process_cpu(pid):
    try:
        return _stat_cpu(f"/proc/{pid}/stat")
    except OSError:
        return 0.0


def thread_cpu(pid):
    """{thread name: seconds} of the threads that live; those of one name are added. Counted in nanoseconds, not ticks."""
    found = {}
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                name = (task / "comm").read_text().strip()
                found[name] = found.get(name, 0.0) + int((task / "schedstat").read_text().split()[0]) / 1e9
            except OSError:
                continue  # it ended meanwhile
    except OSError:
        pass
    return found


def threads_cpu(pid):
    """Of all its threads: what a window of rest is measured with, in which none ends."""
    return sum(thread_cpu(pid).values())


def by_stage(pid):
    """Seconds by stage of a relay process; `other` is what no named thread accounts for, ended ones too."""
    stages = {}
    for name, seconds in thread_cpu(pid).items():
        stage = STAGES.get(name, "log" if name.startswith(LOG_PREFIXES) else "other")
        stages[stage] = stages.get(stage, 0.0) + seconds
    stages["other"] = stages.get("other", 0.0) + max(0.0, process_cpu(pid) - sum(stages.values()))
    return stages


def status_kb(pid, key):
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def own_kb(pid):
    """What the process has for itself: without Postgres' shared buffers, without mapped files."""
    return status_kb(pid, "RssAnon")


def loopback_bytes():
    """Sent over `lo` since boot: every contender speaks TCP over it, so a difference is what went over the wire."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == "lo":
            return int(rest.split()[8])
    return 0


class Sampler:
    """Memory (MB) of some processes over time, in a thread of its own between start() and stop().

    pids: a function, as processes come and go; kb: what is counted of one."""

    def __init__(self, pids, kb):
        self.pids, self.kb = pids, kb
        self.series, self.peak_mb = [], 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._began = time.monotonic()
        self._thread.start()
        return self

    def look(self):
        mb = sum(self.kb(pid) for pid in self.pids()) / 1024
        self.peak_mb = max(self.peak_mb, mb)
        self.series.append((round(time.monotonic() - self._began, 2), round(mb, 1)))

    def _run(self):
        while not self._stop.is_set():
            self.look()
            self._stop.wait(EVERY_S)

    def stop(self):
        self._stop.set()
        self._thread.join(10)
        return self

    def thinned(self):
        step = max(1, -(-len(self.series) // POINTS_MAX))
        return self.series[::step]
