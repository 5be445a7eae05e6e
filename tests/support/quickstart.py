"""What ./quickstart shows, once packages and program are there."""
import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.children import keep_everything, tail, temp_folder  # noqa: E402
from support.compare import checksum, columns, differences  # noqa: E402
from support.kafka import Kafka  # noqa: E402
from support.load import TABLES, Pgbench, init_tpcb  # noqa: E402
from support.postgres import Postgres  # noqa: E402
from support.relay import Relay, binary  # noqa: E402

TERMINAL = sys.stdout.isatty()
LOG_EVERY_S = 5


def say(text=""):
    print(text, flush=True)


def progress_text(relay, target, seconds, last):
    """One line: rows/s since `last`, lag and applied position; and the new `last`."""
    now = time.monotonic()
    rows = target.one("select count(*) from pgbench_history")
    rate = (rows - last[1]) * 4 / max(now - last[0], 0.001)  # a TPC-B transaction changes four rows
    status = relay.status() or {}
    lag = status.get("lag") or {}
    applied = ((status.get("positions") or {}).get("applied") or {}).get("lsn", "-")
    health = (status.get("health") or {}).get("state", "starting")
    return (f"  {seconds:5.0f} s  {rate:8.0f} rows/s  lag {lag.get('seconds') or 0:.2f} s "
            f"({(lag.get('bytes') or 0) / 1024:.0f} kB)  applied {applied}  {health}"), (now, rows)


def watch(relay, target, bench, began):
    last = (time.monotonic(), 0)
    next_log = began + LOG_EVERY_S
    while bench.running():
        time.sleep(1 if TERMINAL else 0.2)
        now = time.monotonic()
        if not relay.running():
            raise SystemExit("millrace stopped:\n" + tail(relay.log_path()))
        if TERMINAL:
            line, last = progress_text(relay, target, now - began, last)
            print("\r\033[K" + line, end="", flush=True)
        elif now >= next_log:
            line, last = progress_text(relay, target, now - began, last)
            say(line)
            next_log += LOG_EVERY_S
    if TERMINAL:
        print()


def prove_equal(source, target):
    """Compares every table by count and by the sum of two hashes of each row's text."""
    say("Comparing source and target, every row of every table by its hash:")
    equal = True
    for table in TABLES:
        names = columns(source, table)
        here, there = checksum(source, table, names), checksum(target, table, names)
        equal = equal and here == there
        say(f"  {table:26} {here[0]:>9} rows  source {here[1] % 2**64:016x}  target {there[1] % 2**64:016x}  "
            f"{'equal' if here == there else 'DIFFERENT'}")
    if not equal:
        say("\n".join(differences(source, target, TABLES)))
    return equal


def wait_applied(source, target, timeout_s):
    """The source is at rest: until the history counts and sums agree."""
    sql = "select count(*), sum(delta), (select sum(abalance) from pgbench_accounts) from pgbench_history"
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if source.execute(sql) == target.execute(sql):
            return True
        time.sleep(0.1)
    return False


def broker():
    try:
        return Kafka()
    except subprocess.CalledProcessError:
        sys.exit("quickstart: no Kafka broker; Maven's reason is above. Without --kafka the embedded log is used.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))

    folder = temp_folder("millrace_quickstart_")
    log = "a Kafka broker" if options.kafka else "the embedded log"
    say(f"Starting a Postgres source, a Postgres target and {log} ...")
    source, target = Postgres("source"), Postgres("target")
    kafka = broker() if options.kafka else None
    say("Loading pgbench's tables ...")
    init_tpcb(source, target)
    relay = Relay(source, target, TABLES, kafka=kafka, name="quickstart", folder=folder)
    say("Starting millrace ...")
    relay.start(ready=True)

    say(f"Live pgbench traffic for {options.seconds} s:")
    began = time.monotonic()
    bench = Pgbench(source, seconds=options.seconds, clients=4)
    watch(relay, target, bench, began)
    rate = bench.wait()
    stopped = time.monotonic()
    caught_up = wait_applied(source, target, 300)
    lag_s = time.monotonic() - stopped
    equal = prove_equal(source, target) and caught_up
    peak_mb = relay.peak_rss_mb()

    rows = source.one("select count(*) from pgbench_history")
    say()
    say(f"{'Equal' if equal else 'NOT EQUAL'}. {rows} transactions, {4 * rows} row changes, at {rate:.0f} transactions/s; "
        f"the target was level {lag_s:.1f} s after the traffic's end.")
    say(f"Millrace used {relay.cpu_seconds():.1f} s of CPU and at most {peak_mb:.0f} MB of memory.")
    if options.keep:
        say("\nStill running:")
        say(f"  source   psql '{source.dsn()}'")
        say(f"  target   psql '{target.dsn()}'")
        if kafka:
            say(f"  kafka    {kafka.brokers}")
        say(f"  status   {os.path.relpath(binary())} status -c {relay.path}")
        say(f"  config   {relay.path}")
        say(f"  log      {relay.log_path()}")
        pids = [server.child.pid for server in (source, target, kafka) if server] + [relay.child().pid]
        folders = [folder, source.folder, target.folder] + ([kafka.folder] if kafka else [])
        say(f"  stop it  kill {' '.join(map(str, reversed(pids)))}; sleep 3; rm -rf {' '.join(map(str, folders))}")
        keep_everything()
    else:
        code, _ = relay.terminate()
        equal = equal and code == 0
        say("\nEverything is removed again (--keep leaves it running). Where to look next:")
        say("  README.md                a config for your own databases, and what is guaranteed")
        say("  docs/operations.md       privileges, set-up, alerts")
        say("  ./quickstart --kafka     the same through a real Kafka broker")
        say("  ./test                   every test, with real servers")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
