"""The work: what is changed at the source, in how many rows, and how a target shows that it has all of it.

A work is made once, while nobody reads; every contender then reads the same WAL from a slot of its own. Its last
transaction puts a row into `public.bench_end`, so that one cheap look tells that a target has everything.
A change is about 200 bytes in the stream, but for the wide rows.
"""
import subprocess
from dataclasses import dataclass, field
from typing import Callable

from support.load import TABLES, Pgbench, init_tpcb

END = "public.bench_end"
END_DDL = f"create table {END} (id int primary key);"
FILL = "repeat('a row of the bench ', 4) || g"  # with the other columns: 200 bytes a change

ROWS = "public.rows_"
ROWS_DDL = f"create table {ROWS} (id bigint primary key, a int not null, b text, c numeric, at timestamptz);"
ROW = f"g, (g % 1000)::int, {FILL}, g + 0.5, now()"
COLUMNS_50 = [f"c{n}" for n in range(1, 50)]
WIDE50_DDL = f"create table {ROWS} (id bigint primary key, {', '.join(f'{c} text' for c in COLUMNS_50)});"
WIDE10K_DDL = f"create table {ROWS} (id bigint primary key, body text);"


@dataclass
class Work:
    name: str
    title: str  # of its row in the tables
    unit: str
    tables: list
    prepare: Callable  # (source, target): tables on both sides, with the rows that both have before
    change: Callable  # (source)
    changes: int
    columns: dict = field(default_factory=dict)  # what a growth table says of it


def both(source, target, sql):
    source.execute(sql)
    target.execute(sql)


def tables_of(ddl):
    return lambda source, target: both(source, target, ddl + END_DDL)


def copy_over(source, target, table):
    done = subprocess.run(f"{source.bin}/psql -X -q -d {source.dsn()} -c 'copy {table} to stdout' | "
                          f"{target.bin}/psql -X -q -d {target.dsn()} -c 'copy {table} from stdin'", shell=True)
    assert done.returncode == 0, f"copying {table}"


def in_transactions(rows, a_transaction, statement):
    """A statement over rows `low` to `high`, one transaction each; the loop is the server's, so it is quick."""
    return f"""do $$ declare low bigint := 1; high bigint; begin
        while low <= {rows} loop
          high := least(low + {a_transaction} - 1, {rows});
          {statement}
          commit; low := high + 1;
        end loop; end $$"""


def insert(row, table=ROWS):
    return f"insert into {table} select {row} from generate_series(low, high) g;"


def inserts(name, title, rows, a_transaction, *, unit="rows/s", ddl=ROWS_DDL, row=ROW, **columns):
    return Work(name, title, unit, [ROWS, END], tables_of(ddl),
                lambda source: source.execute(in_transactions(rows, a_transaction, insert(row))), rows, columns)


def wide50(rows):
    row = "g, " + ", ".join(f"'value {n} of ' || g" for n in range(1, 50))
    return inserts("wide50", "50 columns, 100-row transactions", rows, 100, ddl=WIDE50_DDL, row=row)


def wide10k(rows):
    # Out of line as such values are, but not compressed: 10 KB stay 10 KB on every way they take.
    ddl = WIDE10K_DDL + f"alter table {ROWS} alter body set storage external;"
    return inserts("wide10k", "10 KB of text a row, 10-row transactions", rows, 10, ddl=ddl,
                   row="g, repeat(md5(g::text), 320)")


def mix(existing, changes):
    """50/40/10 insert/update/delete; what is updated and deleted lies scattered over the existing rows."""
    updatable, deletable = existing * 8 // 10, existing - existing * 8 // 10

    def prepare(source, target):
        both(source, target, ROWS_DDL + END_DDL)
        source.execute(f"insert into {ROWS} select {ROW} from generate_series(1, {existing}) g")
        copy_over(source, target, ROWS)

    # Of 100 changes in a transaction: t counts them. 7919 is prime to both ranges, so no row is touched twice.
    statement = f"""
        insert into {ROWS} select {ROW} from generate_series({existing} + low, {existing} + low + 49) g;
        update {ROWS} set a = a + 1, c = low where id = any(array(select
          1 + ((low / 100) * 40 + k) * 7919 % {updatable} from generate_series(0, 39) k));
        delete from {ROWS} where id = any(array(select
          {updatable} + 1 + ((low / 100) * 10 + k) * 7919 % {deletable} from generate_series(0, 9) k));"""
    return Work("mix", "50/40/10 insert/update/delete, 100-row transactions", "rows/s", [ROWS, END], prepare,
                lambda source: source.execute(in_transactions(changes // 100 * 100, 100, statement)),
                changes // 100 * 100)


def tpcb(transactions, scale):
    def prepare(source, target):
        init_tpcb(source, target, scale=scale)
        both(source, target, END_DDL)

    def change(source):
        Pgbench(source, transactions=transactions // 4, clients=4, options=["-M", "prepared"]).wait(900)
    return Work("tpcb", "TPC-B, row changes", "rows/s", TABLES + [END], prepare, change, transactions // 4 * 16)


def insert_into_nth():
    """An EXECUTE with USING's $1 and $2 as bounds, for a block where n is the number of a table of over_tables."""
    row = ROW.replace("'", "''").replace("%", "%%")  # for format()
    return f"execute format('insert into public.rows_%s select {row} from generate_series($1, $2) g', n) using"


def over_tables(rows, tables):
    """The same rows over 1, 10, … tables, each transaction in one of them."""
    names = [f"public.rows_{n}" for n in range(tables)]
    per_table = max(10, rows // tables)
    ddl = "".join(ROWS_DDL.replace(ROWS, name) for name in names) + END_DDL
    statement = f"for n in 0 .. {tables - 1} loop {insert_into_nth()} low, high; commit; end loop;"
    return Work(f"tables{tables}", f"{tables:,} tables", "rows/s", names + [END],
                lambda source, target: both(source, target, ddl),
                lambda source: source.execute(in_transactions(per_table, min(100, per_table), statement)),
                per_table * tables, {"growth": "tables", "x": tables})


def spread(rows, tables):
    """One transaction over all tables: half of its rows table after table, half in rounds of 20 rows a table."""
    made = over_tables(rows, tables)
    half = max(20, rows // tables // 2 // 20 * 20)
    made.change = lambda source: source.execute(f"""do $$ begin
        for n in 0 .. {tables - 1} loop {insert_into_nth()} 1, {half}; end loop;
        for k in 0 .. {half // 20 - 1} loop for n in 0 .. {tables - 1} loop
            {insert_into_nth()} {half} + k * 20 + 1, {half} + k * 20 + 20; end loop; end loop; end $$""")
    made.changes = 2 * half * tables
    made.name, made.title, made.columns = f"spread{tables}", f"one transaction over {tables:,} tables", {"growth": "spread", "x": tables}
    return made


def throughput_works(size):
    """size: rows of the ordinary work; the others follow it so that each takes about as long."""
    return [
        inserts("rows100", "inserts, 100-row transactions", size, 100),
        inserts("single", "single-row transactions", size // 2, 1, unit="transactions/s"),
        tpcb(max(400, size // 5), 10 if size >= 200_000 else 1),
        mix(size, size),
        inserts("large", "inserts, one transaction", size, size),
        wide50(max(1000, size // 10)),
        wide10k(max(500, size // 50)),
    ]


def full_works():
    million = 1_000_000
    return [inserts("rows100", "inserts, 100-row transactions", million, 100),
            inserts("single", "single-row transactions", million, 1, unit="transactions/s"),
            tpcb(million // 4, 10), mix(million, million), inserts("large", "inserts, one transaction", million, million),
            wide50(million), wide10k(100_000)]
