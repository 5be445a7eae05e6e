"""Growth: how rate and memory move with one thing at a time. One contender's figures, so few rounds do."""
from . import throughput, work
from .contenders import Millrace, MillraceKafka, Native

MARKS = {"transaction": [1, 10, 100, 1000, 10_000], "width": [50, 200, 1000, 5000], "tables": [1, 10, 100, 300, 1000],
         "spread": [100, 300, 1000], "partitions": [1, 6, 24]}


def sized(kind, x, made):
    made.name, made.columns = f"{kind}{x}", {"growth": kind, "x": x}
    return made


def of_transactions(rows, marks):
    return [sized("transaction", n, work.inserts("", f"{n:,} rows a transaction", rows if n > 1 else rows // 4, n))
            for n in marks]


def of_width(rows, marks):
    def row(width):
        return f"g, (g % 1000)::int, rpad(md5(g::text), {width}, md5(g::text)), g + 0.5, now()"
    return [sized("width", w, work.inserts("", f"{w:,} bytes of text a row", max(2000, rows * 200 // (w + 100)), 100,
                                           row=row(w))) for w in marks]


def run(bench, rows, kinds, classes, record, *, rounds=1, marks_max=None, tables_max=None):
    """kinds: which of MARKS, of each the first marks_max, and no more tables than tables_max; classes: who is asked."""
    def go(kind, works, contenders, **options):
        asked = [c for c in contenders if c in classes]
        if kind in kinds and asked:
            throughput.run(bench, works, asked, rounds, record, section="growth", **options)
    marks = {kind: values[:marks_max] for kind, values in MARKS.items()}
    everyone = [Native, Millrace, MillraceKafka]
    go("transaction", of_transactions(rows, marks["transaction"]), everyone)
    go("width", of_width(rows, marks["width"]), everyone)
    for tables in [n for n in marks["tables"] if n <= (tables_max or n)]:
        go("tables", [work.over_tables(rows, tables)], everyone)
    for tables in [n for n in marks["spread"] if n <= (tables_max or n)]:
        go("spread", [work.spread(rows, tables)], everyone)
    for partitions in marks["partitions"]:
        made = work.inserts("", f"{partitions} partitions a topic", rows, 100)
        go("partitions", [sized("partitions", partitions, made)], [MillraceKafka],
           config={"log": {"partitions": partitions}})
