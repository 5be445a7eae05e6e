"""The relay with other versions of Postgres, as source and as target, and of Kafka.

  /usr/bin/python3 tests/versions/run.py [--postgres 14,17] [--kafka 4.1.0] [--only source|target|failover|kafka]

Each version runs scenarios in one role while the distribution's server has the other; failover.py needs Postgres 17 and
brings its own. Ends with a table, and with 1 when anything failed."""
import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from support.relay import binary  # noqa: E402
from support.versions import KAFKA, POSTGRES, binaries  # noqa: E402

COMMON = ["010", "020", "040", "050", "060", "440", "450"]
SOURCE = COMMON + ["030", "150"]
STREAMING = ["390"]  # Postgres 14 and later; without what only costs time here
NOT_HERE = "not half_a_gigabyte and not killed"


def scenarios(numbers, env, name):
    return run([str(path) for number in numbers for path in sorted((TESTS / "scenario").glob(f"{number}_*.py"))], env, name)


def run(files, env, name):
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "-k", NOT_HERE,
                           *files], env=dict(os.environ, **env), capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stdout[-12000:], flush=True)
    counted = re.findall(r"(\d+) (passed|failed|error|skipped)", done.stdout)
    line = f"{name:<24} {', '.join(' '.join(c) for c in counted):<28} {time.monotonic() - began:5.0f} s"
    print(line, flush=True)
    return done.returncode == 0, line


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--postgres", default=",".join(POSTGRES))
    parser.add_argument("--kafka", default=",".join(KAFKA))
    parser.add_argument("--only", choices=["source", "target", "failover", "kafka"])
    options = parser.parse_args()
    base = {"MILLRACE_BIN": str(binary()), "PYTHONDONTWRITEBYTECODE": "1"}
    results = []
    for major in options.postgres.split(",") if options.only in (None, "source", "target") else []:
        folder = str(binaries(major))
        if options.only != "target":
            numbers = SOURCE + (STREAMING if int(major) >= 14 else [])
            results.append(scenarios(numbers, dict(base, MILLRACE_PG_BIN_SOURCE=folder), f"Postgres {major} source"))
        if options.only != "source":
            results.append(scenarios(COMMON, dict(base, MILLRACE_PG_BIN_TARGET=folder), f"Postgres {major} target"))
    if options.only in (None, "failover"):
        env = dict(base, MILLRACE_FAULTS=str(TESTS.parent / "build/dev/faults"))
        results.append(run([str(TESTS / "versions" / "failover.py")], env, "failover"))
    if options.only in (None, "source"):
        results.append(run([str(TESTS / "versions" / "streaming_on_13.py")], base, "streaming on 13"))
    for version in options.kafka.split(",") if options.only in (None, "kafka") else []:
        results.append(scenarios(["110"], dict(base, MILLRACE_KAFKA_VERSION=version), f"Kafka {version}"))
    print("\n" + "\n".join(("ok      " if good else "FAILED  ") + line for good, line in results))
    return 0 if all(good for good, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
