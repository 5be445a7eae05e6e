"""Raw results: one JSON line a contender, work and round, kept in build/bench/results.jsonl over all runs.

Tables and plots are made of these lines alone, so they can be remade without measuring. A line names its run, what it
ran on, and whether the run was small (`quick`) or of some contenders only (`part`): such runs make no page.
"""
import json
import statistics
from pathlib import Path

from support.children import ROOT

FILE = ROOT / "build/bench/results.jsonl"


class Results:
    def __init__(self, path=None):
        self.path = Path(path or FILE)
        self.records = []
        if self.path.exists():
            self.records = [json.loads(line) for line in self.path.read_text().splitlines() if line.strip()]

    def append(self, record):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a") as out:
            out.write(json.dumps(record) + "\n")
        self.records.append(record)

    def of_run(self, run):
        return Selection([r for r in self.records if r["run"] == run])

    def whole(self):
        """For each section and work the lines of the last run that measured all contenders at full size."""
        last = {}
        for record in self.records:
            if not record.get("quick") and not record.get("part"):
                last[record["section"], record["work"]] = record["run"]
        return Selection([r for r in self.records if last.get((r["section"], r["work"])) == r["run"]])


class Selection:
    """Lines of which each (section, work) comes from one run."""

    def __init__(self, records):
        self.records = records

    def section(self, name):
        return [r for r in self.records if r["section"] == name]

    def works(self, section):
        """In the order in which they were measured."""
        return list(dict.fromkeys(r["work"] for r in self.section(section)))

    def contenders(self, section, work=None):
        return list(dict.fromkeys(r["contender"] for r in self.section(section) if work in (None, r["work"])))

    def values(self, section, work, contender, key):
        """The figure of each round; key may go into a dictionary: cpu_s_per_million.capture. Without what is None."""
        found = []
        for record in self.section(section):
            if record["work"] == work and record["contender"] == contender:
                value = record
                for part in key.split("/"):
                    value = value.get(part) if isinstance(value, dict) else None
                if value is not None:
                    found.append(value)
        return found

    def median(self, section, work, contender, key):
        values = self.values(section, work, contender, key)
        return statistics.median(values) if values else None

    def spread(self, section, work, contender, key):
        values = self.values(section, work, contender, key)
        return (min(values), max(values)) if values else None

    def first(self, section, work=None):
        return next((r for r in self.section(section) if work in (None, r["work"])), None)

    def ratio(self, section, work, contender, others, key="rate", to_key=None):
        """To the best of `others` (by to_key, when theirs is another figure), of medians; None when either was not measured."""
        mine = self.median(section, work, contender, key)
        best = [m for other in others if (m := self.median(section, work, other, to_key or key)) is not None]
        return mine / max(best) if mine is not None and best else None
