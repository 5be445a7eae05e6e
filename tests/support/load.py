"""Load on a source: pgbench, and the TPC-B oracle that watches the target meanwhile."""
import re
import subprocess
import threading
import time

import psycopg2

from . import promises
from .children import PATIENCE_S, Child, tail, temp_folder, wait_until

TABLES = ["public.pgbench_accounts", "public.pgbench_branches", "public.pgbench_tellers",
          "public.pgbench_history"]

# pgbench's TPC-B over a few accounts, so that a target snapshot of all sums costs a millisecond.
SMALL_TPCB = r"""
\set aid random(1, :accounts)
\set bid random(1, 1)
\set tid random(1, 10)
\set delta random(-5000, 5000)
begin;
update pgbench_accounts set abalance = abalance + :delta where aid = :aid;
update pgbench_tellers set tbalance = tbalance + :delta where tid = :tid;
update pgbench_branches set bbalance = bbalance + :delta where bid = :bid;
insert into pgbench_history (tid, bid, aid, delta, mtime)
  values (:tid, :bid, :aid, :delta, current_timestamp);
end;
"""


class Pgbench:
    """pgbench against one server; `script` None is its own TPC-B."""

    def __init__(self, server, *, seconds=None, transactions=None, clients=2, rate=None, script=None,
                 options=()):
        self.server = server
        self.folder = temp_folder("millrace_pgbench_")
        self.log = self.folder / "pgbench.log"
        argv = [server.bin / "pgbench", "-n", "-c", str(clients), "-j", "1"]
        argv += ["-T", str(seconds)] if seconds else ["-t", str(transactions)]
        if rate:
            argv += ["-R", str(rate)]
        if script:
            (self.folder / "script.sql").write_text(script)
            argv += ["-f", self.folder / "script.sql"]
        self.child = Child(argv + list(options) + [server.dsn()], log=self.log)

    def running(self):
        return self.child.running()

    def wait(self, timeout_s=2 * PATIENCE_S):
        """Transactions per second without connecting; fails when pgbench did."""
        code = self.child.wait(timeout_s)
        text = tail(self.log, 60)
        assert code == 0, f"pgbench: {code}\n{text}"
        return float(re.search(r"tps = ([\d.]+)", text).group(1))

    def stop(self):
        """Its sessions end, too: one may have been in the middle of a COMMIT."""
        self.child.stop()
        wait_until(lambda: not self.server.one("select count(*) from pg_stat_activity where application_name = 'pgbench' "
                                               "and datname = current_database()"), what="pgbench's sessions end")


def init_tpcb(source, target, *, accounts=None, scale=1):
    """pgbench's tables: filled at the source, empty at the target. accounts: fewer rows than 100,000.

    The rows that fill the source are written before the slot exists, so they are copied over here."""
    subprocess.run([source.bin / "pgbench", "-i", "-q", "-s", str(scale), source.dsn()], check=True,
                   capture_output=True)
    if accounts:
        source.execute("delete from pgbench_accounts where aid > %s", (accounts,))
        source.execute("vacuum pgbench_accounts")
    subprocess.run([target.bin / "pgbench", "-i", "-I", "dtp", "-q", target.dsn()], check=True,
                   capture_output=True)
    for table in TABLES:
        dump = subprocess.run([source.bin / "psql", "-X", "-q", "-d", source.dsn(), "-c",
                               f"copy {table} to stdout"], check=True, capture_output=True).stdout
        subprocess.run([target.bin / "psql", "-X", "-q", "-d", target.dsn(), "-c",
                        f"copy {table} from stdin"], input=dump, check=True, capture_output=True)


def small_tpcb(accounts):
    return SMALL_TPCB.replace(":accounts", str(accounts))


class TornStateOracle:
    """Polls one server as fast as it can; every snapshot must have four equal sums.

    `snapshots` counts them, `distinct` how many different states were seen, `torn` holds the first
    few bad ones. Runs in a thread of its own between start() and stop()."""

    SQL = """select (select coalesce(sum(abalance), 0) from pgbench_accounts),
                    (select coalesce(sum(tbalance), 0) from pgbench_tellers),
                    (select coalesce(sum(bbalance), 0) from pgbench_branches),
                    (select coalesce(sum(delta), 0) from pgbench_history),
                    (select count(*) from pgbench_history)"""

    def __init__(self, server, pause_s=0.0):
        self.server, self.pause_s = server, pause_s
        self.snapshots, self.distinct, self.torn = 0, 0, []
        self.error = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def _run(self):
        last = None
        connection = None
        while not self._stop.is_set():
            try:
                if connection is None:
                    connection = self.server.connect()
                with connection.cursor() as cursor:
                    cursor.execute("begin isolation level repeatable read read only")
                    cursor.execute(self.SQL)
                    row = cursor.fetchone()
                    cursor.execute("commit")
            except psycopg2.OperationalError:
                connection = None  # the server restarts
                time.sleep(0.1)
                continue
            except Exception as error:  # shown by stop(); a thread can not fail a test
                self.error = error
                return
            self.snapshots += 1
            if row != last:
                self.distinct += 1
                last = row
            if len(set(row[:4])) != 1 and len(self.torn) < 20:
                self.torn.append(row)
            if self.pause_s:
                time.sleep(self.pause_s)
        if connection:
            connection.close()

    def wait_seen(self, snapshots, distinct=0, torn=False):
        """While the load goes on: until it has looked so often, at so many states (and has found one torn)."""
        wait_until(lambda: self.error or self.snapshots >= snapshots and self.distinct >= distinct and
                   (self.torn or not torn), what=f"{snapshots} snapshots of {distinct} states" + ", one torn" * torn)

    def stop(self):
        self._stop.set()
        self._thread.join(PATIENCE_S)
        if self.error:
            raise self.error
        return self

    def assert_never_torn(self, snapshots_min):
        """Ends the looking, after snapshots_min."""
        if not self._stop.is_set():
            self.wait_seen(snapshots_min)
            self.stop()
        promises.keep(not self.torn, f"{len(self.torn)} torn snapshots of {self.snapshots}; accounts, tellers, "
                                     f"branches, history, rows: {self.torn[:5]}")
        assert self.snapshots >= snapshots_min, f"only {self.snapshots} snapshots"
