"""A promise that was seen broken: a torn or older state of the target, or one that is not the source's in the end.

`./test` runs a test of real servers again that fails for another reason; never one that failed by this."""
import os
from pathlib import Path


class PromiseBroken(AssertionError):
    pass


def keep(held, what):
    if not held:
        raise PromiseBroken(what)


def record(item, error):
    """Into the file that ./test reads; nothing where MILLRACE_PROMISES is not set."""
    path = os.environ.get("MILLRACE_PROMISES")
    if path and isinstance(error, PromiseBroken):
        with Path(path).open("a") as file:
            file.write(f"{Path(item.path).name}::{item.name}\n")
