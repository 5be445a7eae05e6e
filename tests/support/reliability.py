#!/usr/bin/env python3
"""Writes docs/reliability.md from what the last run of the scenarios left behind.

    tests/support/reliability.py              writes the page
    tests/support/reliability.py --check      writes nothing; fails when the page and the marks in the tree differ
    tests/support/reliability.py --names ROW  prints the expression that `./test --row ROW` selects tests by

build/dev/faults holds one JSON file a marked test (support/faults.py), build/fuzz/fuzz.xml what ctest says of the
fuzzers (row 20). A row without a run says so."""
import json
import re
import statistics
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reliability.md"
FAULTS = ROOT / "build/dev/faults"
FUZZ = ROOT / "build/fuzz/fuzz.xml"
FUZZ_ROW = 20

# Row: what happens, and what must hold. I1–I7 are explained on the page.
ROWS = {
    1: ("kill -9 at each step of capture and apply, and at random moments", "goes on by itself; I1–I7"),
    2: ("COMMIT, or a write to the log, is done but its reply is lost", "no double effect"),
    3: ("network cut, half-cut, delay, throttle, flap", "reconnects; I1, I6"),
    4: ("broker down, leader moves, too few replicas", "tries again; I1, I4"),
    5: ("a second or a suspended capture or applier", "the loser stops with exit code 4; I3"),
    6: ("the source crashes, or is restarted", "what comes twice is dropped; I3"),
    7: ("the source fails over to a standby", "goes on, or a loud refusal; I1"),
    8: ("slot lost, dropped, recreated, taken; publication dropped or changed", "a named stop with the way out"),
    9: ("TRUNCATE, ALTER TABLE, new partitions in mid-stream", "I7, or a named stop"),
    10: ("a transaction of 1 GB; 10,000 savepoints", "bounded memory; I2"),
    11: ("target slower than wal_sender_timeout, or away", "the slot stays, memory bounded; I6"),
    12: ("deadlocks, serialization failures, lock time-outs at the target", "tried again; I3, I4"),
    13: ("a row that the target does not take", "a named stop, or parked in order"),
    14: ("disk full under RocksDB", "blocked with the reason; I5"),
    15: ("RocksDB truncated, flipped bytes, deleted, an old copy put back", "rebuilt, or a named stop; I3"),
    16: ("the clock jumps by an hour", "nothing notices; I6"),
    17: ("TLS certificate expired, password changed", "a named error; goes on when mended"),
    18: ("SIGTERM under load", "stops within seconds; acknowledged = durable"),
    19: ("a commit visible late during backfill and verify", "no stale row, no false mismatch"),
    20: ("garbage on the wire, hostile config, hostile rows", "an error, never a crash"),
}

HEAD = """# Reliability

Made by `tests/support/reliability.py` from the last run of the scenarios; do not edit. Every scenario runs against real Postgres
servers and, where it says so, a real Kafka broker; the oracle reads the target while the fault happens and again at the end.

- I1 every committed row arrives
- I2 no part of a transaction is ever visible in the target
- I3 nothing is applied twice
- I4 a row's version never falls
- I5 the slot forgets only what the log holds; the target has applied only what the log holds
- I6 caught up within a bound, or stopped with a named reason
- I7 source and target are equal at the end

*Tries* are faults injected. *Recovered in* is the time from the end of a fault until source and target were equal again, median
and worst, where the scenario measures it. A row is *held* only when every one of its tests ran and passed. *Shown by* names the
files of `tests/scenario`. `./test --row 5` runs the tests of row 5.

| # | fault | must | tries | held | recovered in | shown by |
|---|---|---|---|---|---|---|
"""


def entries():
    found = [json.loads(path.read_text()) for path in sorted(FAULTS.glob("*.json"))]
    if FUZZ.exists():
        for case in ElementTree.parse(FUZZ).getroot().iter("testcase"):
            outcome = "passed" if case.get("status") == "run" and case.find("failure") is None else "failed"
            found.append({"rows": [FUZZ_ROW], "file": case.get("name"), "test": case.get("name"), "outcome": outcome,
                          "tries": 1, "recovery_s": []})
    return found


def marked_files():
    """Row number → the files (or fuzzers) of the tree that show it."""
    files = {}
    for path in sorted([*(ROOT / "tests/scenario").glob("[0-9]*.py"), *(ROOT / "tests/versions").glob("*.py")]):
        for arguments in re.findall(r"mark\.fault\(([^)]*)\)", path.read_text()):
            for number in re.findall(r"\d+", arguments):
                files.setdefault(int(number), set()).add(path.name)
    for path in (ROOT / "tests/fuzz").glob("*_fuzz.cc"):
        files.setdefault(FUZZ_ROW, set()).add("fuzz_" + path.name.removesuffix("_fuzz.cc"))
    return files


def recovered(seconds):
    if not seconds:
        return "–"
    return f"{statistics.median(seconds):.1f} s, {max(seconds):.1f} s"


def shown_by(files):
    if all(name.startswith("fuzz_") for name in files):
        return f"{len(files)} fuzzers"
    return " ".join(sorted(name[:3] if name[0].isdigit() else "versions/" + name.removesuffix(".py") for name in files))


def line(number, found, files):
    fault, must = ROWS[number]
    if not files:
        return f"| {number} | {fault} | {must} | – | not tested yet | – | – |"
    missing = sorted(files - {entry["file"] for entry in found})
    bad = sorted({entry["test"] for entry in found if entry["outcome"] != "passed"})
    held = "held"
    if missing:
        held = "not run: " + ", ".join(missing)
    if bad:
        held = "**not held**: " + ", ".join(f"`{name}`" for name in bad)
    seconds = [second for entry in found for second in entry["recovery_s"]]
    return (f"| {number} | {fault} | {must} | {sum(entry['tries'] for entry in found)} | {held} | "
            f"{recovered(seconds)} | {shown_by(files)} |")


def page():
    found, files = entries(), marked_files()
    lines = [line(number, [entry for entry in found if number in entry["rows"] and
                           entry["file"] in files.get(number, ())], files.get(number, set())) for number in ROWS]
    return HEAD + "\n".join(lines) + "\n"


def check():
    """What the page says shows a row is what the tree marks with it."""
    files = marked_files()
    wrong = [number for number in files if number not in ROWS]
    for text in PAGE.read_text().splitlines():
        if row := re.match(r"\| (\d+) \|", text):
            marked = files.get(int(row.group(1)), set())
            if text.split(" | ")[-1].rstrip(" |") != (shown_by(marked) if marked else "–"):
                wrong.append(int(row.group(1)))
    if wrong:
        print(f"docs/reliability.md, rows {wrong}: not what the tree marks with them; run ./test scenario fuzz, "
              "then tests/support/reliability.py")
    return 1 if wrong else 0


def names(number):
    """For ctest -R: the tests of one row; "versions" where only `./test versions` has them."""
    files = marked_files().get(number, ())
    if files and not any(name[0].isdigit() or name.startswith("fuzz_") for name in files):
        return "versions"
    shown = [name if name.startswith("fuzz_") else f"scenario_{name.removesuffix('.py')}"
             for name in sorted(files)]
    return "^(" + "|".join(shown) + ")$" if shown else "^no test has this row$"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        sys.exit(check())
    elif sys.argv[1:2] == ["--names"]:
        print(names(int(sys.argv[2])))
    else:
        PAGE.write_text(page())
