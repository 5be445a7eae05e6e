"""Counts the instructions of bench_micro's fixed job and compares them with what was recorded.

  instructions.py BENCH_MICRO COMPILER [--record]

Time moves with the machine and its neighbours; the number of instructions of one program on one input hardly does.
More than 5 % above the recorded figure is a regression: find it, or record the new figure with its reason. More than
5 % below is a gain that would hide the next regression: record it. A compiler that has no figure is said and passes.
"""
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "instructions.json"
CAPTURED = HERE.parent / "golden/pgoutput/everything.bin"
TOLERANCE = 0.05


def counted(program):
    """Instructions a row of millrace_fixed_job, all that it calls included."""
    with tempfile.NamedTemporaryFile(prefix="callgrind") as out:
        done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}",
                               "--toggle-collect=millrace_fixed_job", program, "--fixed", CAPTURED],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        total = re.search(r"^(?:summary|totals): (\d+)", Path(out.name).read_text(), re.MULTILINE)
        assert total and int(total.group(1)) > 0, f"callgrind counted nothing:\n{done.stderr}"
        return int(total.group(1)) / json.loads(done.stdout)["rows"]


def main():
    program, compiler = sys.argv[1], " ".join(sys.argv[2].split())
    recorded = json.loads(RECORDED.read_text())
    found = counted(program)
    if "--record" in sys.argv[3:]:
        recorded[compiler] = round(found)
        RECORDED.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")
        return 0
    if compiler not in recorded:
        print(f"{compiler}: {found:.0f} instructions a row; nothing is recorded for this compiler, so nothing is compared")
        return 0
    ratio = found / recorded[compiler]
    print(f"{compiler}: {found:.0f} instructions a row, recorded {recorded[compiler]} ({ratio - 1:+.1%})")
    if abs(ratio - 1) <= TOLERANCE:
        return 0
    print(f"more than {TOLERANCE:.0%} away: find the reason, or record it: {' '.join(sys.argv)} --record")
    return 1


if __name__ == "__main__":
    sys.exit(main())
