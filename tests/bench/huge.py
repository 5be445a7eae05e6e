"""Huge: the memory that one transaction of many gigabytes takes, of small rows and of large ones.

Only when it is asked for: its small rows need five times the transaction's size on the disk (at the source the table,
its WAL and what the walsender spills; the target, whose table is unlogged; the log). Large rows are compressed on both
servers' disks, and whole on all ways in between.
"""
import shutil
import tempfile

from . import throughput, work
from .contenders import Millrace, MillraceKafka

TIMEOUT_S = 7200
DDL = f"create table {work.ROWS} (id bigint primary key, b text);"
# Name, title, bytes a row, what the row is, and how much of the transaction's size the disk must have free.
KINDS = [("huge1k", "rows of 1 KB", 1000, "g, repeat(md5(g::text), 31)", 5.0),
         ("huge1m", "rows of 1 MB", 1 << 20, "g, repeat(md5(g::text), 32768)", 0.5)]


def made(name, title, gigabytes, row_bytes, row):
    rows = int(gigabytes * 1e9 / row_bytes)
    one = work.inserts(name, title, rows, rows, ddl=DDL, row=row, gigabytes=gigabytes)

    def prepare(source, target):
        source.execute(DDL + work.END_DDL)
        target.execute(DDL.replace("create table", "create unlogged table") + work.END_DDL)
    one.prepare = prepare
    return one


def run(bench, gigabytes, kinds, classes, rounds, record):
    for name, title, row_bytes, row, share in kinds:
        free = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
        if free < gigabytes * share + 1:
            raise RuntimeError(f"{title}, {gigabytes:g} GB: {gigabytes * share + 1:.0f} GB must be free on the disk of "
                               f"{tempfile.gettempdir()}, {free:.0f} GB are; see --gigabytes")
        throughput.run(bench, [made(name, title, gigabytes, row_bytes, row)],
                       [c for c in (Millrace, MillraceKafka) if c in classes], rounds, record, section="huge",
                       timeout_s=TIMEOUT_S)
