"""What the bench shows, made of lines that a run recorded: so that it can not rot between two measurements.

recorded.jsonl is a run of `--quick` (its figures mean nothing); the figures that are checked here are made by hand.
"""
import os
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import latency, meters, page, peers, run, tables, targets  # noqa: E402
from bench.results import Results, Selection  # noqa: E402

RECORDED = Path(__file__).parent / "recorded.jsonl"
HEAD = {"run": "2026-01-01 00:00:00", "quick": False, "part": False, "version": "millrace 0", "machine": "2 cores",
        "postgres": "15"}


def line(work, contender, rate, round_=0, **more):
    return {**HEAD, "section": "throughput", "work": work, "contender": contender, "round": round_, "changes": 1000,
            "rate": rate, "peak_mb": 50, "own_cpu": 1.0, "cpu_s_per_million": {"walsender": 2.0, "capture": 1.0},
            "wire_bytes_a_change": 300, "stream_bytes_a_change": None, "memory": [[0, 1]], **more}


@pytest.fixture
def recorded():
    return Selection(Results(RECORDED).records)


def test_every_block_of_a_whole_run_has_its_place_in_the_page(recorded):
    blocks = tables.blocks(recorded)
    assert set(blocks) == {"targets", "ends", "reading", "costs", "memory", "latency", "idle", "growth", "history",
                           "huge"}
    written = page.with_blocks(page.PAGE.read_text(), blocks)
    for body in blocks.values():
        assert body in written
    assert written.count("<!-- bench") == page.PAGE.read_text().count("<!-- bench")
    assert page.with_blocks(written, blocks) == written, "writing twice is not writing once"


def test_what_stands_outside_the_markers_is_left_alone(recorded):
    begin, end = page.markers("ends")
    assert page.with_blocks(f"a\n{begin}\nold\n{end}\nb\n", {"ends": "new"}) == f"a\n{begin}\n\nnew\n\n{end}\nb\n"
    with pytest.raises(RuntimeError, match="no place for ends"):
        page.with_blocks("a page without markers", {"ends": "new"})


def test_tables_are_tables(recorded):
    """Every row has as many cells as its head, and no cell says None."""
    for name, body in tables.blocks(recorded).items():
        for table in [part for part in body.split("\n\n") if part.startswith("|")]:
            rows = table.splitlines()
            assert len(rows) > 2, f"{name} has no row"
            assert len({row.count("|") for row in rows}) == 1, f"{name}: rows of different lengths\n{table}"
            assert "None" not in table and "nan" not in table, table


def test_every_record_has_its_line(recorded):
    for record in recorded.records:
        assert record["contender"] in tables.line(record)


def test_median_spread_and_ratio():
    lines = [line("rows100", "native", rate, n) for n, rate in enumerate([100, 400, 200])]
    lines += [line("rows100", "embedded", rate, n) for n, rate in enumerate([90, 110, 100])]
    selection = Selection(lines)
    assert selection.median("throughput", "rows100", "native", "rate") == 200
    assert selection.spread("throughput", "rows100", "native", "rate") == (100, 400)
    assert selection.ratio("throughput", "rows100", "embedded", ["native"]) == 0.5
    assert selection.ratio("throughput", "rows100", "embedded", ["absent"]) is None
    assert selection.median("throughput", "rows100", "native", "cpu_s_per_million/capture") == 1.0
    assert "100 ±10 % (0.50×)" in tables.rates(selection, tables.ENDS, "native")


def test_what_one_contender_did_not_do_is_an_empty_cell():
    table = tables.rates(Selection([line("rows100", "native", 1), line("rows100", "embedded", 1),
                                    line("tpcb", "embedded", 1)]), tables.ENDS, "native")
    assert {row.count("|") for row in table.splitlines()} == {4}, table


def rows_of(lines):
    return {(what, to): (measured, said) for what, to, measured, _, _, said in targets.ratio_rows(Selection(lines))}


@pytest.mark.parametrize("rate, said", [(59, "**not reached**"), (60, "must reached"), (100, "aim reached")])
def test_verdicts(rate, said):
    rows = rows_of([line("rows100", "native", 100), line("rows100", "embedded", rate)])
    assert rows["100-row transactions, embedded", "native"] == (rate / 100, said)
    assert rows["TPC-B, Kafka", "native"] == (None, "not measured")


def test_less_memory_is_better():
    rows = rows_of([line("rows100", "debezium_capture", 1, peak_mb=900), line("rows100", "capture_kafka", 4, peak_mb=160)])
    assert rows["capture → Kafka, memory", "Debezium"][1] == "**not reached**"
    rows = rows_of([line("rows100", "debezium_capture", 1, peak_mb=900), line("rows100", "capture_kafka", 4, peak_mb=90)])
    assert rows["capture → Kafka, memory", "Debezium"][1] == "must reached"
    assert rows["capture → Kafka", "Debezium"] == (4, "must reached")


def test_a_warm_rate_is_of_the_second_half():
    progress = [(10.0, 0), (14.0, 40), (16.0, 60), (18.0, 100), (18.5, 110), (19.0, 120)]  # slow, then fast
    assert peers.warm_rate(progress, 1200) == 600 / 3
    assert peers.warm_rate([], 1200) is None and peers.warm_rate([(1.0, 100)], 1200) is None
    lines = [line("rows100", "debezium_capture", 10, warm_rate=25), line("rows100", "capture_kafka", 40)]
    assert rows_of(lines)["capture → Kafka", "Debezium when warm"] == (1.6, "**not reached**")
    assert rows_of(lines)["capture → Kafka", "Debezium"] == (4, "must reached")
    assert "10 ±0 %; warm 25" in tables.rates(Selection(lines), tables.READING, "eager")


def test_ten_gigabytes_are_not_shown_by_one():
    def said(gigabytes):
        one = line("huge1k", "embedded", 1, section="huge", gigabytes=gigabytes, peak_mb=70)
        return {what: said for what, _, _, _, _, said in targets.absolute_rows(Selection([one]))}
    assert said(1)["highest memory in a transaction of 10 GB, embedded"] == "not measured"
    assert said(10)["highest memory in a transaction of 10 GB, embedded"] == "must reached"


def test_the_page_is_made_of_whole_runs_only(tmp_path):
    """A look at one contender, or a quick run, must not replace what was measured beside its rivals."""
    results = Results(tmp_path / "r.jsonl")
    results.append(line("rows100", "embedded", 1))
    results.append({**line("rows100", "embedded", 2), "run": "2026-01-02 00:00:00", "part": True})
    results.append({**line("rows100", "embedded", 3), "run": "2026-01-03 00:00:00", "quick": True})
    results.append({**line("tpcb", "embedded", 4), "run": "2026-01-04 00:00:00"})
    whole = Results(tmp_path / "r.jsonl").whole()
    assert [r["rate"] for r in whole.records] == [1, 4]
    results.append({**line("rows100", "embedded", 5), "run": "2026-01-05 00:00:00"})
    assert [r["rate"] for r in results.whole().records] == [4, 5]


def test_percentiles():
    found = latency.percentiles([float(n) for n in range(1000, 0, -1)])
    assert (found["50"], found["99"], found["100"]) == (501, 991, 1000)


def test_meters_see_this_process():
    def spin(until):
        while time.monotonic() < until:
            pass
    pid, before = os.getpid(), meters.process_cpu(os.getpid())
    sampler = meters.Sampler(lambda: [pid], lambda p: meters.status_kb(p, "VmRSS")).start()
    spin(time.monotonic() + 0.3)
    assert meters.process_cpu(pid) > before
    assert meters.threads_cpu(pid) > 0.05
    assert set(meters.by_stage(pid)) == {"other"}, "no thread here has a stage's name"
    assert sampler.stop().peak_mb >= meters.own_kb(pid) / 1024 > 1
    assert meters.process_cpu(2**22 + 1) == 0 and meters.thread_cpu(2**22 + 1) == {}, "a process that is gone"
    assert meters.loopback_bytes() > 0


def test_threads_belong_to_stages(monkeypatch):
    monkeypatch.setattr(meters, "thread_cpu", lambda _: {"capture": 1.0, "feedback": 0.5, "log writer": 2.0,
                                                         "rdk:broker1": 3.0, "rocksdb:low0": 1.0, "apply": 4.0, "admin": 0.25})
    monkeypatch.setattr(meters, "process_cpu", lambda _: 12.0)
    assert meters.by_stage(1) == {"capture": 1.5, "log": 6.0, "apply": 4.0, "other": 0.5}


def test_sizes_follow_the_options():
    assert run.Sizes(run.parsed(["--quick"])).rows < run.Sizes(run.parsed([])).rows
    chosen = run.Sizes(run.parsed(["--rows", "200000", "--rounds", "1"]))
    assert (chosen.rows, chosen.rounds) == (200_000, 1)
