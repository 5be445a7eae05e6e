"""Source and target compared row by row, as text, over every column but _millrace."""
import time

from . import promises
from .children import PATIENCE_S

SESSION = """set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set timezone = 'UTC';
set bytea_output = 'hex'; set extra_float_digits = 1; set search_path = pg_catalog, public;
set default_transaction_read_only = on"""

CHECKSUM = """select count(*), coalesce(sum(hashtextextended(r, 0)::numeric), 0),
coalesce(sum(hashtextextended(r, 7)::numeric), 0) from (select row({columns})::text r from {table}) x"""


def quote(identifier):
    return '"' + identifier.replace('"', '""') + '"'


def columns(server, table):
    rows = server.execute("""select attname from pg_attribute where attrelid = %s::regclass
                             and attnum > 0 and not attisdropped and attname <> '_millrace'
                             order by attnum""", (table,))
    return [row[0] for row in rows]


def _open(server):
    connection = server.connect()
    with connection.cursor() as cursor:
        cursor.execute(SESSION)
    return connection


def checksum(server, query_table, names):
    """(rows, sum, sum) over the rows' text: equal multisets have equal ones."""
    connection = _open(server)
    with connection.cursor() as cursor:
        cursor.execute(CHECKSUM.format(columns=", ".join(map(quote, names)), table=query_table))
        row = cursor.fetchone()
    connection.close()
    return tuple(map(int, row))


def _rows(server, table, names):
    connection = _open(server)
    with connection.cursor() as cursor:
        listed = ", ".join(quote(n) + "::text" for n in names)
        cursor.execute(f"select {listed} from {table}")
        rows = cursor.fetchall()
    connection.close()
    return sorted(rows, key=lambda row: [(v is not None, v or "") for v in row])


def _shorten(row):
    return tuple(v if v is None or len(v) < 60 else v[:57] + "..." for v in row)


def differences(source, target, tables, most=5):
    """Words for every difference. tables: names, or (source table, target table) pairs; a table
    may be a parenthesised select with an alias, to state what mapping should have made."""
    found = []
    for table in tables:
        here, there = table if isinstance(table, tuple) else (table, table)
        if here.startswith("("):
            names = columns(target, there)
        else:
            names = columns(source, here)
            other = columns(target, there)
            if set(names) - set(other):
                found.append(f"{there}: columns {sorted(set(names) - set(other))} are missing")
                continue
        if checksum(source, here, names) == checksum(target, there, names):
            continue
        left, right = _rows(source, here, names), _rows(target, there, names)
        missing, extra = _multiset_minus(left, right), _multiset_minus(right, left)
        if missing or extra:  # neither: two encodings of the same characters
            found.append(f"{there}: {len(left)} rows at the source, {len(right)} at the target; "
                         f"{names}\n  only at the source: {list(map(_shorten, missing[:most]))}"
                         f"\n  only at the target: {list(map(_shorten, extra[:most]))}")
    return found


def _multiset_minus(left, right):
    counts = {}
    for row in right:
        counts[row] = counts.get(row, 0) + 1
    out = []
    for row in left:
        if counts.get(row, 0):
            counts[row] -= 1
        else:
            out.append(row)
    return out


def assert_same(source, target, tables):
    found = differences(source, target, tables)
    promises.keep(not found, "source and target differ:\n" + "\n".join(found))


def wait_same(source, target, tables, timeout_s=PATIENCE_S, each_time=lambda: None):
    """For a source at rest: waits until the target is equal, PATIENCE_S at least; calls each_time between looks."""
    timeout_s = max(timeout_s, PATIENCE_S)
    deadline = time.monotonic() + timeout_s
    while found := differences(source, target, tables):
        promises.keep(time.monotonic() < deadline, f"after {timeout_s} s source and target differ:\n" + "\n".join(found))
        each_time()
        time.sleep(0.2)
