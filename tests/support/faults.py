"""What the fault matrix needs of a scenario: which fault it was, whether the promise held, how long recovery took.

A scenario of the matrix is marked `@pytest.mark.fault(ROW)` (the row of docs/reliability.md; several are allowed).
It may measure recovery:

    with recovery():            # from the moment the fault ends until the block does
        world.wait_same("t")

`conftest.py` writes one JSON file a test into the folder MILLRACE_FAULTS; support/reliability.py makes the page."""
import json
import os
import time
from contextlib import contextmanager
from pathlib import Path


class Recovery:
    """Measured seconds of one test. `tries` counts faults that one test injects (default: one a recovery)."""

    def __init__(self):
        self.seconds, self.tries = [], None

    @contextmanager
    def __call__(self):
        began = time.monotonic()
        yield
        self.seconds.append(time.monotonic() - began)


def record(item, outcome, seconds):
    """Writes down what one marked test came to; nothing where MILLRACE_FAULTS is not set."""
    folder = os.environ.get("MILLRACE_FAULTS")
    rows = [row for mark in item.iter_markers("fault") for row in mark.args]
    if not folder or not rows:
        return
    recovery = item.funcargs.get("recovery") if hasattr(item, "funcargs") else None
    file = Path(item.path).name
    entry = {"rows": rows, "file": file, "test": item.name, "outcome": outcome, "seconds": round(seconds, 1),
             "tries": (recovery.tries or len(recovery.seconds) or 1) if recovery else 1,
             "recovery_s": [round(s, 2) for s in recovery.seconds] if recovery else []}
    Path(folder).mkdir(parents=True, exist_ok=True)
    safe = "".join(c if c.isalnum() else "_" for c in f"{file}_{item.name}")
    (Path(folder) / f"{safe}.json").write_text(json.dumps(entry) + "\n")
