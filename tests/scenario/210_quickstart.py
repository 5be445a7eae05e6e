"""210 The quickstart after its build: live traffic, an honest comparison, and nothing left behind."""
import os
import subprocess
import sys

import pytest

from support.children import ROOT
from support.relay import binary


@pytest.mark.parametrize("broker", [[], ["--kafka"]], ids=["embedded", "kafka"])
def test_quickstart(tmp_path, broker):
    environment = dict(os.environ, MILLRACE_BIN=str(binary()), TMPDIR=str(tmp_path))
    tmp_path.chmod(0o777)
    tmp_path.parent.chmod(0o755)
    tmp_path.parent.parent.chmod(0o755)
    done = subprocess.run([sys.executable, ROOT / "tests/support/quickstart.py", "--seconds", "5", *broker],
                          env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Equal." in done.stdout
    assert not list(tmp_path.glob("millrace*")), "something was left behind"
