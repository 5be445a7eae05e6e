"""450 History at scale: pgbench's tables are copied into an empty target while pgbench goes on, and the relay is killed again
and again meanwhile; then damage is planted, found by verify, mended by repair, and all the time there is traffic.

By hand: MILLRACE_SCALE=50 MILLRACE_KILLS=10 MILLRACE_BIN=…/millrace python3 -m pytest -s tests/scenario/450*.py
prints what it took. MILLRACE_SEED=N repeats the kills of a run that failed; a scale is 100,000 rows, as pgbench's."""
import json
import os
import random
import signal
import subprocess
import time

from support.children import wait_until
from support.kills import failpoints
from support.load import TABLES, Pgbench, small_tpcb

SCALE = int(os.environ.get("MILLRACE_SCALE", "1"))
KILLS = int(os.environ.get("MILLRACE_KILLS", "3"))
SEED = int(os.environ.get("MILLRACE_SEED", "0")) or random.randrange(1, 2**31)
ROWS = SCALE * 100_000
BUSY = ROWS * 9 // 10  # pgbench changes accounts up to here; the others rest, so that what is planted stays
RATE = 100
ACCOUNTS = "public.pgbench_accounts"
PATIENCE_S = 120 + 60 * SCALE
POINTS = ["backfill_read", "backfill_write", "backfill_written"]
# Of a chunk's first rows, twice as many as before it: three deaths within five chunks leave something to be copied.
CHUNKS_MAX = 5


def filled(world):
    for side, steps in ((world.source, "dtgp"), (world.target, "dtp")):
        subprocess.run([side.bin / "pgbench", "-i", "-I", steps, "-q", "-s", str(SCALE), side.dsn()], check=True, capture_output=True)
    head_start = "30s" if SEED % 2 else "0s"
    print(f"head start {head_start}")
    relay = world.relay(TABLES, config={"backfill": {"on_start": True, "head_start": head_start}, "memory": "128MB"})
    relay.setup()
    return relay


def traffic(world):
    return Pgbench(world.source, seconds=24 * 3600, rate=RATE, clients=1, script=small_tpcb(BUSY))


def copied(world):
    """(rows, all is copied)"""
    if world.target.one("select to_regclass('millrace.progress')") is None:
        return 0, False
    rows, count, done = world.target.execute(
        "select coalesce(sum(rows_done), 0), count(*), count(*) filter (where state = 'done') from millrace.progress")[0]
    return int(rows), count == done == len(TABLES) - 1  # the history has no key, and begins empty


class Killer:
    """A build with failpoints dies of one, which can not come too late; another is killed at some number of rows."""

    def __init__(self, world, relay, dice):
        self.world, self.relay, self.dice = world, relay, dice
        self.exact = set(POINTS) <= set(failpoints())
        self.at = []

    def strike(self, number):
        if self.exact:
            point = f"{self.dice.choice(POINTS)}@{self.dice.randint(1, CHUNKS_MAX)}"
            self.relay.start(env={"MILLRACE_FAIL": point})
            assert self.relay.wait(PATIENCE_S) == -signal.SIGKILL, f"{point} did not fire, seed {SEED}"
        else:
            limit = int(ROWS * (number + self.dice.random()) / (KILLS + 1))
            self.relay.start()
            wait_until(lambda: copied(self.world)[0] >= limit, PATIENCE_S, f"{limit} rows are copied, seed {SEED}", 0.01)
            self.relay.kill()
        rows, done = copied(self.world)
        assert not done, f"nothing was left to be killed for, seed {SEED}"
        assert rows >= max(self.at, default=0), f"the copy has lost rows, seed {SEED}"
        self.at.append(rows)


def verify(relay, expect=None):
    """(report, seconds). Rows that change all the time may stay unresolved; that is no difference."""
    report, began = relay.folder / "verify.json", time.monotonic()
    done = relay.command("verify", "--table", ACCOUNTS, "--table", "public.pgbench_tellers", "--report", report, timeout_s=PATIENCE_S)
    seconds = time.monotonic() - began
    found = json.loads(report.read_text())
    assert done.returncode in (expect or (0, 1)), f"verify: {done.returncode}\n{done.stdout}\n{done.stderr}"
    accounts = next(table for table in found["tables"] if table["table"] == ACCOUNTS)
    assert accounts["compared"] >= ROWS - 2 and accounts["unresolved"] < ROWS / 100 and not accounts["why"], found
    return found, seconds


def rests_equal(world, relay, load):
    """By the eyes of another program, and with the source at rest for them."""
    load.stop()
    end = world.source.lsn()
    wait_until(lambda: world.target.one("select end_lsn >= %s::pg_lsn from millrace.applied", (end,)), PATIENCE_S, "all is applied")
    world.assert_same(*TABLES)
    assert relay.running()


def plant(world):
    """Under keys that rest; what verify must say of them."""
    changed, missing, gone, stale, extra = ROWS, ROWS - 1, ROWS - 2, BUSY + 1, ROWS + 1000
    source, target = world.source, world.target
    old = target.execute(f"select abalance, _millrace from {ACCOUNTS} where aid = %s", (stale,))[0]
    row = source.execute(f"select aid, bid, abalance, filler from {ACCOUNTS} where aid = %s", (gone,))[0]
    source.execute(f"update {ACCOUNTS} set abalance = abalance + 1 where aid = {stale}; delete from {ACCOUNTS} where aid = {gone}")
    wait_until(lambda: target.one(f"select abalance from {ACCOUNTS} where aid = {stale}") == old[0] + 1
               and target.one(f"select count(*) from {ACCOUNTS} where aid = {gone}") == 0, 60, "both arrive")
    target.execute(f"update {ACCOUNTS} set abalance = %s, _millrace = %s where aid = {stale}", old)
    target.execute(f"""update {ACCOUNTS} set filler = overlay(filler placing 'x' from 40) where aid = {changed};
        delete from {ACCOUNTS} where aid = {missing}; insert into {ACCOUNTS} values ({extra}, 1, 0, 'extra')""")
    target.execute(f"insert into {ACCOUNTS} values (%s, %s, %s, %s)", row)
    return sorted([(str(changed), "different", ["filler"]), (str(missing), "missing", []), (str(gone), "extra", []),
                   (str(stale), "different", ["abalance"]), (str(extra), "extra", [])])


def test_copied_verified_damaged_and_repaired(world):
    dice = random.Random(SEED)
    relay = filled(world)
    load = traffic(world)
    try:
        killer, began = Killer(world, relay, dice), time.monotonic()
        for number in range(KILLS):
            killer.strike(number)
        relay.start(ready=True)
        wait_until(lambda: copied(world)[1], PATIENCE_S, f"all is copied, seed {SEED}", 0.05)
        copying_s = time.monotonic() - began
        report, verify_s = verify(relay)
        assert not report["differences"], (SEED, report)
        assert load.running()
        rests_equal(world, relay, load)

        load = traffic(world)
        planted = plant(world)
        report, _ = verify(relay, expect=(3,))
        assert sorted((row["key"]["aid"], row["kind"], row["columns"]) for row in report["differences"]) == planted, (SEED, report)
        began = time.monotonic()
        done = relay.command("repair", "--json", "--delete-extra", "--report", relay.folder / "verify.json", timeout_s=PATIENCE_S)
        repair_s = time.monotonic() - began
        assert done.returncode in (0, 1), f"repair: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert not json.loads(done.stdout)["verify"]["differences"], done.stdout
        assert load.running()
        rests_equal(world, relay, load)
    finally:
        load.stop()
    print(f"\nseed {SEED}: {ROWS:,} accounts, killed at {', '.join(f'{at:,}' for at in killer.at)} rows; copied in {copying_s:.1f} s "
          f"({ROWS / copying_s:,.0f} rows/s, deaths and all), verified in {verify_s:.1f} s ({ROWS / verify_s:,.0f} rows/s), "
          f"repaired and verified in {repair_s:.1f} s; {world.source.one('select count(*) from pgbench_history'):,} transactions meanwhile")
