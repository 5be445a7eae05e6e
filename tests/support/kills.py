"""What a relay that is killed again and again is judged by: a workload, an oracle on the target, and the killing."""
import json
import random
import signal
import subprocess
import threading
import time

from . import promises
from .children import PATIENCE_S, wait_until
from .load import TABLES, init_tpcb
from .relay import binary

ACCOUNTS, COUNTERS = 200, 8
ALL = TABLES + ["public.ledger", "public.counters", "public.items", "public.marks"]
DDL = f"""
create table public.ledger (n bigint, counter int, delta int);
create table public.counters (id int primary key, n bigint);
create table public.items (id int primary key, a int, big text);
alter table public.items alter column big set storage external;
create table public.marks (id int primary key, n bigint);
"""


def failpoints():
    """Every name that the binary knows; nothing for a release build, which ignores the switch."""
    done = subprocess.run([binary(), "version"], env={"MILLRACE_FAIL": "list"}, capture_output=True, text=True)
    return [name for name in done.stdout.split() if "_" in name]


class Workload:
    """Transactions over all tables at once, by a seed. Each keeps the four sums of TPC-B equal, and the counters'
    sum equal to the ledger's; each also inserts an item, changes one without its large value, moves and deletes one."""

    def __init__(self, source, seed):
        self.source, self.dice = source, random.Random(seed)
        self.items, self.next_item, self.entries, self.mark = [], 1, 0, 0
        self.lock = threading.Lock()
        self.connection = None

    def prepare(self, target):
        """Fills source and target alike, before there is a slot."""
        init_tpcb(self.source, target, accounts=ACCOUNTS)
        for side in (self.source, target):
            side.execute(DDL)
            side.execute(f"insert into counters select g, 0 from generate_series(1, {COUNTERS}) g")
            side.execute("insert into marks values (1, 0)")
        self.connection = self.source.connect()

    def _commit(self, sql):
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def _tpcb(self):
        delta, aid, tid = self.dice.randint(-5000, 5000), self.dice.randint(1, ACCOUNTS), self.dice.randint(1, 10)
        return (f"update pgbench_accounts set abalance = abalance + {delta} where aid = {aid};"
                f"update pgbench_tellers set tbalance = tbalance + {delta} where tid = {tid};"
                f"update pgbench_branches set bbalance = bbalance + {delta} where bid = 1;"
                f"insert into pgbench_history (tid, bid, aid, delta, mtime) values ({tid}, 1, {aid}, {delta}, now());")

    def _count(self):
        counter, delta = self.dice.randint(1, COUNTERS), self.dice.randint(1, 9)
        self.entries += 1
        return (f"update counters set n = n + {delta} where id = {counter};"
                f"insert into ledger values ({self.entries}, {counter}, {delta});")

    def _items(self):
        item, self.next_item = self.next_item, self.next_item + 1
        sql = f"insert into items values ({item}, 0, repeat(md5('{item}'), 100));"
        if len(self.items) > 5:
            moved, self.next_item = self.next_item, self.next_item + 1
            gone = self.items.pop(self.dice.randrange(len(self.items)))
            sql += f"update items set a = a + 1; delete from items where id = {gone};"
            at = self.dice.randrange(len(self.items))
            sql += f"update items set id = {moved} where id = {self.items[at]};"
            self.items[at] = moved
        self.items.append(item)
        return sql

    def small(self):
        with self.lock:
            sql = self._tpcb() + self._count() + self._count() + (self._items() if self.dice.random() < 0.3 else "")
            self._commit(sql)

    def large(self, rows):
        """One transaction of 4 * rows changes."""
        with self.lock:
            first, self.entries = self.entries + 1, self.entries + rows
            self._commit(
                self._tpcb() + self._items() +
                f"insert into ledger select g, 1 + g % 2, 1 from generate_series({first}, {self.entries}) g;"
                f"update counters set n = n + {rows - rows // 2} where id = {1 + first % 2};"
                f"update counters set n = n + {rows // 2} where id = {2 - first % 2};"
                f"insert into items select -g, 1, 'in between' from generate_series(1, {rows}) g;"
                f"update items set a = 2, id = id - {rows} where id < 0; delete from items where id < 0;" + self._tpcb())

    def write_mark(self):
        with self.lock:
            self.mark += 1
            self._commit(f"update marks set n = {self.mark} where id = 1")
            return self.mark


class Oracle:
    """Polls the target (and the slot) in a thread of its own; `wrong` holds the first few broken promises.

    Never part of a transaction; the applied position and no row's version ever fall; with `slot`, the slot has
    never forgotten what the target has not applied (log.acknowledge: applied)."""

    SQL = """select (select coalesce(sum(abalance), 0) from pgbench_accounts),
                    (select coalesce(sum(tbalance), 0) from pgbench_tellers),
                    (select coalesce(sum(bbalance), 0) from pgbench_branches),
                    (select coalesce(sum(delta), 0) from pgbench_history),
                    (select coalesce(sum(n), 0) from counters), (select coalesce(sum(delta), 0) from ledger),
                    (select end_lsn::text from millrace.applied),
                    (select json_object_agg('counter ' || id, encode(_millrace, 'hex')) from counters),
                    (select json_object_agg('item ' || id, encode(_millrace, 'hex')) from items)"""
    CONFIRMED = "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = %s"

    def __init__(self, source, target, slot=None):
        self.source, self.target, self.slot = source, target, slot
        self.snapshots, self.states, self.wrong = 0, 0, []
        self._versions, self._position, self._last = {}, 0, None
        self._stop = threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def _run(self):
        try:
            source, target = self.source.connect(), self.target.connect()
            with source.cursor() as here, target.cursor() as there:
                while not self._stop.is_set():
                    confirmed = self._confirmed(here)
                    there.execute("begin isolation level repeatable read read only")
                    there.execute(self.SQL)
                    row = there.fetchone()
                    there.execute("commit")
                    self._judge(confirmed, row)
                    time.sleep(0.02)
            source.close()
            target.close()
        except Exception as error:  # shown by stop(); a thread can not fail a test
            self._error = error

    def _confirmed(self, cursor):
        if not self.slot:
            return 0
        cursor.execute(self.CONFIRMED, (self.slot,))
        row = cursor.fetchone()
        return lsn(row[0]) if row else 0

    def _judge(self, confirmed, row):
        self.snapshots += 1
        self.states += row != self._last
        self._last = row
        position = lsn(row[6]) if row[6] else 0
        if len(set(row[:4])) != 1 or row[4] != row[5]:
            self._note(f"torn: accounts, tellers, branches, history, counters, ledger: {row[:6]}")
        if position < self._position:
            self._note(f"the applied position fell from {self._position:X} to {position:X}")
        if position and confirmed > position:
            self._note(f"the slot forgot up to {confirmed:X}, the target has {position:X}")
        self._position = max(position, self._position)
        for key, version in {**(row[7] or {}), **(row[8] or {})}.items():
            known = self._versions.get(key)
            if known and (version or "") < known:
                self._note(f"the version of {key} fell from {known} to {version}")
            elif version:
                self._versions[key] = version

    def _note(self, what):
        if len(self.wrong) < 10:
            self.wrong.append(what)

    def stop(self):
        self._stop.set()
        self._thread.join(PATIENCE_S)
        if self._error:
            raise self._error
        return self

    def check(self):
        promises.keep(not self.wrong, "seen on the target:\n" + "\n".join(self.wrong))


def fingerprint(server):
    """One query over all tables: cheap enough for every kill. Unequal ones are compared row by row."""
    names = [name.removeprefix("public.") for name in ALL]
    columns = dict(server.execute("""select relname, string_agg(quote_ident(attname), ', ' order by attnum)
        from pg_attribute join pg_class c on c.oid = attrelid where relnamespace = 'public'::regnamespace
        and relkind = 'r' and attnum > 0 and not attisdropped and attname <> '_millrace' group by 1"""))
    return server.execute(" union all ".join(
        f"select '{name}', count(*), sum(hashtextextended(r, 0)::numeric) from "
        f"(select row({columns[name]})::text r from {name}) x" for name in names) + " order by 1")


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


class Killer:
    """A relay that is started with one failpoint armed, and must die of it."""

    def __init__(self, world, relay, workload, env=None):
        self.world, self.relay, self.workload, self.env = world, relay, workload, env or {}
        self.kills = 0

    def strike(self, point, count, load, timeout_s=PATIENCE_S):
        """Starts the relay, calls load() until the failpoint has killed it; fails when it does not fire."""
        name = f"{point}@{count}"
        before = len(self.relay.log_text())
        self.relay.start(env={**self.env, "MILLRACE_FAIL": name})
        child = self.relay.children.pop("all")
        deadline = time.monotonic() + timeout_s
        while child.running():
            if time.monotonic() > deadline:
                child.kill()
                raise AssertionError(f"{name} did not fire within {timeout_s} s")
            load()
        code = child.wait(1)
        text = self.relay.log_text()[before:]
        assert code == -signal.SIGKILL and f"failpoint {name} fires" in text, f"{name}: ended with {code}\n{text[-2000:]}"
        self.kills += 1

    def recover(self, tables=ALL, timeout_s=120):
        """A start without a failpoint catches up to the last row, with equal tables; then it is killed too."""
        self.relay.start(env=self.env)
        mark = self.workload.write_mark()

        def arrived():
            assert self.relay.running(), "left by itself: " + self.relay.log_text()[-2000:]
            return self.world.target.one("select n from marks") == mark
        wait_until(arrived, timeout_s, "the last row arrives after a kill", 0.01)
        if fingerprint(self.world.source) != fingerprint(self.world.target):
            self.world.assert_same(*tables)
        self.relay.kill()

    def check_slot_against_log(self):
        """What the slot forgot is in the log: for a log whose publishing alone is acknowledged."""
        confirmed = self.world.source.slot(self.relay.slot)["confirmed_flush_lsn"]
        done = self.relay.command("log", "describe")
        assert done.returncode == 0, done.stderr
        last = json.loads(done.stdout)["last"]["position"]
        end = lsn(last.split(":")[1])
        assert lsn(confirmed) <= end, f"the slot forgot up to {confirmed}, the log ends at {last}"
