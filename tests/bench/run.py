"""Millrace beside bare readers of the slot and Postgres' own logical replication: one run, one machine, interleaved.

  ./test bench [OPTION…]        everything, in about 25 minutes on two cores
  ./test bench --quick          a smoke test: small, its figures mean nothing
  ./test bench --only embedded --only native --work rows100 --rounds 1 --rows 200000
  ./test bench --report         tables and plots again from build/bench/results.jsonl, without measuring

Each figure is a line on stdout and in build/bench/results.jsonl; --write puts tables into docs/performance.md and
plots into docs/img. Its files: servers, work (what is changed), contenders (who reads it), throughput, latency, growth,
idle, history, huge (what is measured), meters (/proc), results, targets, tables, plots (what is shown).
"""
import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import contenders, growth, history, huge, idle, latency, peers, tables, throughput, work  # noqa: E402
from bench.results import FILE, Results  # noqa: E402
from bench.servers import Bench, machine  # noqa: E402

SECTIONS = ["throughput", "latency", "idle", "growth", "history"]
ASKED_FOR = ["huge"]  # are no part of a run that names no section
WORKS = [w.name for w in work.throughput_works(1000)] + [kind[0] for kind in huge.KINDS]
LATENCY_RATES = [100, 1000, 5000]


class Sizes:
    """What a run of each kind measures; --rows and --rounds override the first two."""

    def __init__(self, options):
        kind = "quick" if options.quick else "full" if options.full else "default"
        self.rows, self.rounds, self.growth_rows, self.latency_s, self.idle_s = {
            "quick": (10_000, 1, 4_000, 2, 2), "default": (500_000, 3, 200_000, 10, 10),
            "full": (1_000_000, 3, 1_000_000, 20, 10)}[kind]
        self.scale, self.window_s = {"quick": (1, 1)}.get(kind, (100, 8))
        if options.scale:
            self.scale = options.scale
        self.rates = LATENCY_RATES if kind != "quick" else [100, 1000]
        self.slow_rounds = self.rounds if kind == "full" else 1  # of latency, idle, growth: long windows, or many
        self.full = kind == "full"
        if options.rows:
            self.rows = self.growth_rows = options.rows
            self.full = False
        if options.rounds:
            self.rounds = self.slow_rounds = options.rounds


def parsed(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test: small, figures mean nothing")
    parser.add_argument("--full", action="store_true", help="1,000,000 rows everywhere; takes hours")
    parser.add_argument("--rows", type=int, help="rows of the ordinary work; the others follow it")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--scale", type=int, help="of history: pgbench's, 100,000 rows each; default 100")
    parser.add_argument("--only", action="append", metavar="CONTENDER", choices=[c.name for c in tables.EVERYONE],
                        help="may be repeated: " + ", ".join(tables.ORDER))
    parser.add_argument("--peers", action="store_true", help="Debezium too (throughput; fetched by Maven)")
    parser.add_argument("--section", action="append", choices=SECTIONS + ASKED_FOR,
                        help="may be repeated; default: all but " + ", ".join(ASKED_FOR))
    parser.add_argument("--work", action="append", metavar="WORK", choices=WORKS,
                        help="of throughput and huge, may be repeated: " + ", ".join(WORKS))
    parser.add_argument("--growth", action="append", choices=list(growth.MARKS),
                        help="of growth, may be repeated")
    parser.add_argument("--gigabytes", type=float, default=10, help="of the one transaction of section huge")
    parser.add_argument("--write", action="store_true", help="put tables and plots into docs")
    parser.add_argument("--report", action="store_true", help="measure nothing: tables of what was measured")
    parser.add_argument("--results", default=str(FILE), help="where the raw lines are kept")
    return parser.parse_args(arguments)


class Run:
    def __init__(self, options, results):
        self.options, self.results, self.sizes = options, results, Sizes(options)
        self.began = time.time()
        self.bench = Bench(options)
        self.bench.say = self.say
        if options.peers:
            peers.fetch()
        self.head = {"run": time.strftime("%Y-%m-%d %H:%M:%S"), "quick": options.quick, "part": bool(options.only),
                     "version": contenders.version(), "machine": machine(),
                     "postgres": self.bench.source.one("show server_version").split()[0]}

    def say(self, text):
        print(f"[{time.time() - self.began:5.0f} s] {text}", flush=True)

    def record(self, record):
        self.results.append({**self.head, **record})
        self.say(tables.line(record))

    def classes(self, *groups):
        """The contenders of the groups that are asked for and there, in their order."""
        asked = [c for group in groups for c in group if not self.options.only or c.name in self.options.only]
        for missing in [c for c in asked if not contenders.available(c)]:
            self.say(f"{missing.name}: left out, the program bench_readers is not built")
        return [c for c in asked if contenders.available(c)]

    def throughput(self):
        works = work.full_works() if self.sizes.full else work.throughput_works(self.sizes.rows)
        for one in works:
            if self.options.work and one.name not in self.options.work:
                continue
            # The bare readers and the halves say where a stream's cost lies; rows that are wide say it no better.
            groups = [contenders.END_TO_END] if one.name.startswith("wide") and not self.sizes.full else [
                contenders.READERS, contenders.CAPTURES, contenders.END_TO_END]
            if self.options.peers:
                groups.append([peer for peer in peers.ALL if one.name in peer.works])
            classes = self.classes(*groups)
            if classes:
                throughput.run(self.bench, [one], classes, self.sizes.rounds, self.record)

    def latency(self):
        latency.run(self.bench, self.sizes.rates, self.classes(contenders.MAIN), self.sizes.slow_rounds, self.record,
                    self.sizes.latency_s)

    def idle(self):
        idle.run(self.bench, self.classes(contenders.MAIN), self.sizes.slow_rounds, self.record, self.sizes.idle_s)

    def growth(self):
        kinds = self.options.growth or list(growth.MARKS)
        growth.run(self.bench, self.sizes.growth_rows, kinds, self.classes(contenders.MAIN), self.record,
                   rounds=self.sizes.slow_rounds, marks_max=2 if self.options.quick else None,
                   tables_max=None if self.options.full or self.options.growth else 300)

    def history(self):
        history.run(self.bench, self.sizes.scale, self.classes(contenders.MAIN), self.sizes.rounds, self.sizes.window_s, self.record)

    def huge(self):
        gigabytes = 0.01 if self.options.quick else self.options.gigabytes
        kinds = [kind for kind in huge.KINDS if not self.options.work or kind[0] in self.options.work]
        huge.run(self.bench, gigabytes, kinds, self.classes(contenders.MAIN), self.sizes.slow_rounds, self.record)


def main():
    options = parsed()
    results = Results(options.results)
    selection = results.whole()
    if not options.report:
        run = Run(options, results)
        for section in options.section or SECTIONS:
            getattr(run, section)()
        run.say("done")
        selection = results.whole() if options.write else results.of_run(run.head["run"])
    print("\n" + tables.text(selection))
    if options.write:
        from bench import page
        page.write(selection)


if __name__ == "__main__":
    main()
