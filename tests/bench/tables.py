"""Results as Markdown: one table a block, each of lines that one run measured. Nothing here measures."""
from . import contenders, huge, peers, targets, work

EVERYONE = contenders.ALL + peers.ALL
TITLES = {c.name: c.title for c in EVERYONE}
ORDER = [c.name for c in EVERYONE]
WORKS = {w.name: w for w in work.throughput_works(1000)}
HUGE = {kind[0]: kind[1] for kind in huge.KINDS}
READING = [c.name for c in EVERYONE if c.reads_only]
ENDS = [c.name for c in EVERYONE if not c.reads_only]
STAGES = [("walsender", "walsender, at the source"), ("reader", "the reader"), ("capture", "relay: capture"),
          ("log", "relay: log (RocksDB, librdkafka)"), ("apply", "relay: apply"), ("other", "relay: other"),
          ("connect", "Kafka Connect"), ("broker", "broker"), ("target", "the target's backend")]
GROWTH = {"transaction": "rows a transaction", "width": "bytes of text a row", "tables": "tables",
          "spread": "tables in one transaction", "partitions": "partitions a topic"}


def number(value, digits=0):
    return "–" if value is None else f"{value:,.{digits}f}"


def line(record):
    """One record in one line, for who watches the run."""
    what = f"{record['section']} {record['work']} round {record['round'] + 1} {record['contender']}: "
    if record["section"] == "latency":
        p = record["percentiles_ms"]
        return what + f"p50 {p['50']:.1f}, p90 {p['90']:.1f}, p99 {p['99']:.1f}, max {p['100']:.1f} ms, {record['rows']} rows"
    if record["section"] == "idle":
        return what + f"{record['cpu_percent']:.2f} % of a core, {record['rss_mb']:.0f} MB"
    if record["section"] == "history" and "tps" in record:
        return what + f"{number(record['tps'])} transactions/s at the source"
    if "cpu_s_per_million" not in record:
        return what + f"{record['rate']:,.0f}/s"
    cpu = sum(record["cpu_s_per_million"].values())
    warm = f" (warm {record['warm_rate']:,.0f})" if record.get("warm_rate") else ""
    return what + f"{record['rate']:,.0f}/s{warm}, {number(record['peak_mb'])} MB, all together {cpu:.1f} CPU s a million"


def markdown(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def measured_on(selection, section):
    """Under every table: when, what, where. Lines of several runs are named as such."""
    records = selection.section(section)
    first = records[0]
    runs = sorted({r["run"][:10] for r in records})
    rounds = max(r["round"] for r in records) + 1
    return (f"{' and '.join(runs)}; {first['version']}; Postgres {first['postgres']}; {first['machine']}; "
            f"median of {rounds} round{'s' if rounds > 1 else ''}.")


def sorted_names(found, names):
    return [name for name in names if name in found]


def works(selection):
    """Of throughput, in the order in which they are made, whichever was measured again since."""
    return sorted_names(selection.works("throughput"), WORKS)


def rates(selection, names, yardstick):
    found = selection.contenders("throughput")
    columns = sorted_names(found, names)
    if not columns:
        return None
    rows = []
    for one in works(selection):
        cells = []
        for name in columns:
            median = selection.median("throughput", one, name, "rate")
            if median is None:
                cells.append("")
                continue
            low, high = selection.spread("throughput", one, name, "rate")
            ratio = selection.ratio("throughput", one, name, [yardstick])
            warm = selection.median("throughput", one, name, "warm_rate")
            cells.append(f"{median:,.0f} ±{(high - low) / 2 / median * 100:.0f} %" + (f" ({ratio:.2f}×)" if ratio else "") +
                         (f"; warm {warm:,.0f}" if warm else ""))
        if any(cells):
            changes = selection.first("throughput", one)["changes"]
            rows.append([f"`{one}`: {WORKS[one].title}, {WORKS[one].unit} ({changes:,} changes)", *cells])
    return markdown(["", *[TITLES[name] for name in columns]], rows)


def costs(selection, one="rows100"):
    columns = sorted_names(selection.contenders("throughput", one), ORDER)
    if not columns:
        return None

    def row(title, key, digits=1):
        cells = [selection.median("throughput", one, name, key) for name in columns]
        return [title, *["" if c is None else number(c, digits) for c in cells]] if any(c is not None for c in cells) else None
    rows = [row(title, f"cpu_s_per_million/{stage}") for stage, title in STAGES]
    sums = []
    for name in columns:
        parts = [selection.median("throughput", one, name, f"cpu_s_per_million/{stage}") or 0 for stage, _ in STAGES]
        sums.append(f"**{sum(parts):.1f}**")
    rows.append(["**CPU seconds a million changes**", *sums])
    rows.append(row("peak memory, MB", "peak_mb", 0))
    rows.append(row("bytes over the loopback, a change", "wire_bytes_a_change", 0))
    rows.append(row("of them the source's stream", "stream_bytes_a_change", 0))
    return markdown(["", *[TITLES[name] for name in columns]], [r for r in rows if r])


def memory(selection):
    columns = sorted_names(selection.contenders("throughput"), ENDS)
    rows = [[WORKS[one].title, *[number(selection.median("throughput", one, name, "peak_mb")) for name in columns]]
            for one in works(selection)]
    return markdown(["peak memory, MB", *[TITLES[name] for name in columns]], rows) if columns else None


def rated(selection):
    """Of latency, by rate."""
    return sorted(selection.works("latency"), key=lambda one: selection.first("latency", one)["rate_asked"])


def latencies(selection):
    columns = sorted_names(selection.contenders("latency"), ORDER)
    if not columns:
        return None
    rows = []
    for one in rated(selection):
        rate = selection.first("latency", one)["rate_asked"]
        made = [f"{selection.median('latency', one, name, 'rate_made'):,.0f}" for name in columns
                if selection.median("latency", one, name, "rate_made")]
        cells = []
        for name in columns:
            values = [selection.median("latency", one, name, f"percentiles_ms/{p}") for p in ("50", "90", "99", "100")]
            cells.append("" if None in values else " / ".join(f"{v:.1f}" for v in values))
        rows.append([f"{rate:,} transactions/s (made: {', '.join(made)})", *cells])
    return markdown(["p50 / p90 / p99 / max, ms", *[TITLES[name] for name in columns]], rows)


def idles(selection):
    columns = sorted_names(selection.contenders("idle"), ORDER)
    if not columns:
        return None
    rows = [[title, *[number(selection.median("idle", "idle", name, key), digits) for name in columns]]
            for title, key, digits in (("its CPU, % of a core", "cpu_percent", 2), ("its memory, MB", "rss_mb", 0),
                                       ("the walsender's CPU, %", "walsender_percent", 2),
                                       ("the target backend's CPU, %", "target_percent", 2))]
    return markdown(["", *[TITLES[name] for name in columns]], rows)


def growths(selection):
    """One table a kind: rows/s and peak memory of each contender."""
    out = []
    for kind, title in GROWTH.items():
        records = [r for r in selection.section("growth") if r["growth"] == kind]
        columns = sorted_names({r["contender"] for r in records}, ORDER)
        if not columns:
            continue
        rows = []
        for x in sorted({r["x"] for r in records}):
            one = f"{kind}{x}"
            cells = []
            for name in columns:
                rate, mb = (selection.median("growth", one, name, key) for key in ("rate", "peak_mb"))
                cells.append("" if rate is None else f"{rate:,.0f} / {mb:.0f}")
            rows.append([f"{x:,}", *cells])
        out.append(markdown([title, *[TITLES[name] + ", changes/s / MB" for name in columns]], rows))
    return "\n\n".join(out) or None


def histories(selection):
    columns = sorted_names(selection.contenders("history"), ORDER)
    if not columns:
        return None

    def row(title, one, key, digits=0):
        return [title, *[number(selection.median("history", one, name, key), digits) for name in columns]]

    def ratio(name):
        found = selection.ratio("history", "copy", name, ["native"])
        return "" if found is None else f" ({found:.2f}×)"
    rows = [row("copied, rows/s", "copy", "rate"), row("in seconds", "copy", "seconds", 1),
            row("until the target has caught up too, seconds", "copy", "caught_up_s", 1),
            *[row(f"CPU seconds a million rows: {title}", "copy", f"cpu_s_per_million/{stage}", 1) for stage, title in (
                ("source", "the source's backends"), ("target", "the target's backends"), ("other", "relay: reading rows"),
                ("apply", "relay: apply, writing rows"), ("capture", "relay: capture"), ("log", "relay: log"))],
            row("peak memory, MB", "copy", "peak_mb"), row("verified, rows/s", "verify", "rate"),
            *[row(f"pgbench at the source, transactions/s, {one}", one, "tps")
              for one in ("beside nothing", "beside a copy", "beside verify")]]
    rows[0][1:] = [cell + ratio(name) for cell, name in zip(rows[0][1:], columns)]
    head = f"{selection.first('history')['rows']:,} rows of pgbench_accounts"
    return markdown([head, *[TITLES[name] for name in columns]], rows)


def huges(selection):
    columns = sorted_names(selection.contenders("huge"), ORDER)
    if not columns:
        return None
    rows = []
    for one in selection.works("huge"):
        record = selection.first("huge", one)
        cells = []
        for name in columns:
            peak, seconds = (selection.median("huge", one, name, key) for key in ("peak_mb", "seconds"))
            cells.append("" if peak is None else f"{peak:,.0f} / {record['gigabytes'] * 1000 / seconds:,.0f}")
        rows.append([f"{record['gigabytes']:g} GB in {record['changes']:,} {HUGE[one]}", *cells])
    return markdown(["one transaction", *[TITLES[name] + ", peak MB / MB a second" for name in columns]], rows)


def target_rows(selection):
    def ratio(value):
        return "" if value is None else f"{value:.2f}×"

    rows = [[what, words, "–" if value is None else f"{value:.2f}×", ratio(must), ratio(aim), said]
            for what, words, value, must, aim, said in targets.ratio_rows(selection)]
    for what, unit, value, must, aim, said in targets.absolute_rows(selection):
        digits = 2 if unit.startswith("%") else 1
        rows.append([what, unit, number(value, digits), f"≤ {must:g}", "" if aim is None else f"≤ {aim:g}", said])
    return markdown(["what", "to, or unit", "measured", "must", "aim", "verdict"], rows)


def blocks(selection):
    """{block of the page: its Markdown}; a block whose section was not measured is not there."""
    made = {"ends": rates(selection, ENDS, "native"), "reading": rates(selection, READING, "eager"),
            "costs": costs(selection), "memory": memory(selection), "latency": latencies(selection),
            "idle": idles(selection), "growth": growths(selection), "history": histories(selection),
            "huge": huges(selection)}
    sections = {"latency": "latency", "idle": "idle", "growth": "growth", "history": "history", "huge": "huge"}
    found = {}
    for name, body in made.items():
        if body:
            found[name] = body + "\n\n" + measured_on(selection, sections.get(name, "throughput"))
    if found:
        found["targets"] = target_rows(selection)
    return found


def text(selection):
    return "\n\n".join(f"{name}\n\n{body}" for name, body in blocks(selection).items()) or "nothing was measured"
